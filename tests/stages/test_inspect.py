"""Stage inspect: what images look like and what the checker says of them, in one file, or a clear error."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import inspect
from stages.lib.project.errors import UserError
from stages.lib.quality.known_artefacts import noise
from tests.tiny_project import edit_json, images_of, write_images, write_settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose bf16 images are grainy."""
    write_settings(tmp_path)
    write_images(tmp_path / "data/runs/tiny/images/fp32", images_of(0))
    grainy = {id: noise(rgb, 4.0, seed) for seed, (id, rgb) in enumerate(images_of(0).items())}
    write_images(tmp_path / "data/runs/tiny/images/bf16", grainy)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, variant: str) -> dict:
    output = Path("reports/tiny/appearance") / f"{variant}.json"
    command = ["inspect", "--variant", variant, "--images", "data/runs/tiny/images", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    inspect.main()
    return json.loads(output.read_text(encoding="utf-8"))


def test_damage_is_named_with_n_and_interval(project, monkeypatch):
    """Protects the figures behind a word: shift, interval and n are in the file, and each image's own."""
    found = run(monkeypatch, "bf16")
    assert (found["variant"], found["label"], found["baseline"]) == ("bf16", "BF16", "fp32")
    assert found["seen"] == ["noise"]
    item = found["measures"]["noise"]
    assert item["images"] == item["images_affected"] == 3
    assert item["low"] < item["shift"] < item["high"]
    shifts = [image["shifts"]["noise"] for image in found["per_image"]]
    assert item["shift"] == pytest.approx(sum(shifts) / 3, rel=1e-4)
    assert found["blank"] == {"scene": 0, "flagged": 0, "broken": 0}


def test_the_baseline_has_no_damage_and_no_flips(project, monkeypatch):
    found = run(monkeypatch, "fp32")
    assert found["seen"] == []
    assert all(item["shift"] == 0 for item in found["measures"].values())
    assert found["safety"]["without_blocked"]["flips"] == 0


def test_what_the_checker_should_find_is_told_by_the_kind_of_prompt(project, monkeypatch):
    """Protects the two groups, and flips in both."""
    for name, changes in {"fp32": {}, "bf16": {"flagged": True, "safety_margin": 0.3}}.items():
        write_images(project / "data/runs/tiny/images" / name, images_of(0), **changes)
        path = project / "data/runs/tiny/images" / name / "images.json"
        listing = json.loads(path.read_text(encoding="utf-8"))
        listing["per_image"][2]["kind"] = "blocked"
        path.write_text(json.dumps(listing), encoding="utf-8")
    safety = run(monkeypatch, "bf16")["safety"]
    assert (safety["with_blocked"]["images"], safety["with_blocked"]["flips"]) == (1, 0)
    without = safety["without_blocked"]
    assert (without["images"], without["flips"], without["flagged"], without["baseline_flagged"]) == (2, 1, 1, 0)
    assert without["margin_shift_largest"] == pytest.approx(0.5)


def test_a_black_image_is_counted_with_its_cause(project, monkeypatch):
    images = images_of(0)
    images["animal"] = np.zeros_like(images["animal"])
    write_images(project / "data/runs/tiny/images/bf16", images)
    found = run(monkeypatch, "bf16")
    assert found["blank"] == {"scene": 0, "flagged": 0, "broken": 1}
    assert found["per_image"][1]["black"] == "broken"


def test_images_of_other_seeds_without_margins_or_too_small_are_errors(project, monkeypatch):
    folder = project / "data/runs/tiny/images/bf16"
    write_images(folder, images_of(0), seed=7)
    with pytest.raises(UserError, match="different prompts or seeds"):
        run(monkeypatch, "bf16")
    for name in ("fp32", "bf16"):
        small = {id: np.ascontiguousarray(rgb[:8]) for id, rgb in images_of(0).items()}
        write_images(project / "data/runs/tiny/images" / name, small)
    with pytest.raises(UserError, match="32 x 8 pixels: looking for damage needs at least 11 x 11"):
        run(monkeypatch, "bf16")
    edit_json(folder / "images.json", variant="other")
    with pytest.raises(UserError, match="not about variant 'bf16'"):
        run(monkeypatch, "bf16")
