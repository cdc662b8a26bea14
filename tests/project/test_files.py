"""Outputs are whole or absent, and the same content gives the same bytes."""

import hashlib

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, rounded, sha256, whole_folder, write_bytes, write_json


def test_floats_are_rounded_to_six_significant_digits_at_every_depth():
    """Protects reports against diffs of float noise."""
    assert rounded({"a": [0.123456789, 123456.789], "b": {"c": 1e-9 / 3}}) == {
        "a": [0.123457, 123457.0],
        "b": {"c": 3.33333e-10},
    }


def test_whole_numbers_truth_values_and_none_are_kept():
    """Protects counts of bytes: they are exact."""
    assert rounded([123456789, True, None, "x"]) == [123456789, True, None, "x"]


def test_a_value_without_json_form_is_refused():
    """Protects against objects that slip into reports."""
    with pytest.raises(TypeError, match="set has no JSON form"):
        rounded({"a": {1}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_never_written(tmp_path, value):
    """Protects readers of the JSON, which has no such numbers."""
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_json_is_sorted_and_comes_back(tmp_path):
    """Protects the diffs of published reports."""
    write_json(tmp_path / "new" / "a.json", {"b": 1, "a": "ü"})
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n "a": "ü",\n "b": 1\n}\n'
    assert read_json(tmp_path / "new" / "a.json") == {"a": "ü", "b": 1}


def test_json_has_the_figures_of_one_image_on_one_line(tmp_path):
    """Protects the diffs of reports from a line a figure, and strings that look like JSON."""
    value = {"rows": [{"id": "a {\n  b ] ,", "ssim": 0.5}, {"id": "b", "ssim": 1.0}], "none": [], "n": 2}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert '\n "n": 2,\n "none": [],\n' in (text := (tmp_path / "a.json").read_text(encoding="utf-8"))
    assert '\n  {"id": "b", "ssim": 1.0}\n' in text


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_broken_json_is_a_message_that_names_the_file(tmp_path, content):
    """Protects a user from a traceback."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_missing_json_says_how_to_make_it(tmp_path):
    """Protects a user who runs a stage by hand."""
    with pytest.raises(UserError, match="dvc repro"):
        read_json(tmp_path / "a.json")


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    """Protects an output against a crash in the middle of writing."""
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path):
    """Protects against files of an earlier run that stay behind."""
    target = tmp_path / "models" / "v"
    for name in ("old", "new"):
        with whole_folder(target) as folder:
            (folder / name).write_text(name, encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_folder_whose_making_failed_is_not_there(tmp_path):
    """Protects the next stage against half a model."""
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "v") as folder:
        (folder / "half").write_text("x", encoding="utf-8")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    """Protects the run after a kill: half a folder must not leak into the new one."""
    leftover = tmp_path / ".v.1.partial"
    leftover.mkdir()
    (leftover / "half").write_text("x", encoding="utf-8")
    with whole_folder(tmp_path / "v") as folder:
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_a_run_that_was_thought_dead_cannot_spoil_the_next_one(tmp_path, monkeypatch):
    """Protects `dvc repro` after a kill that hit `dvc` alone: the orphaned stage goes on for a while."""
    monkeypatch.setattr("os.getpid", lambda: 1)
    orphan = whole_folder(tmp_path / "v")
    old = orphan.__enter__()
    monkeypatch.undo()
    with whole_folder(tmp_path / "v") as new:
        with pytest.raises(FileNotFoundError):
            (old / "half").write_text("x", encoding="utf-8")
        with pytest.raises(RuntimeError):
            orphan.gen.throw(RuntimeError())
        (new / "whole").write_text("x", encoding="utf-8")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["v", "v/whole"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    """Protects the comparison with published digests."""
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
