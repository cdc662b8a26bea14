"""`make benchmark`: a line for each variant, or one clear message."""

import re
import sys
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.timing.ratios import paired_ratios
from tests.conftest import PROJECT
from tests.timings import calls_of
from tests.tiny_project import write_models, write_settings
from tests.warm_python import warm_python
from tools import benchmark


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_settings(tmp_path)
    write_models(tmp_path, tiny_model, ("fp32", "bf16"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setattr(sys, "executable", warm_python())
    return tmp_path


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    benchmark.main()
    return capsys.readouterr().out.splitlines()


def test_every_variant_has_a_line_with_its_speed_up_and_spread(project: Path, monkeypatch, capsys) -> None:
    """Protects the command from changes of the stage whose parts it uses."""
    lines = printed(monkeypatch, capsys, "--variants", "fp32,bf16", "--rounds", "2")
    assert len(lines) == 3 and "over fp32" in lines[0]
    for line, label, end in zip(lines[1:], ("FP32", "BF16"), (", itself", " +the same"), strict=True):
        assert re.fullmatch(rf"{label} +\d+\.\d{{3}}  \d+\.\d\dx \(\d+\.\d\d to \d+\.\d\d\){end}", line), line


def test_a_model_that_was_not_made_is_one_message(project: Path, monkeypatch, capsys) -> None:
    (project / "data/runs/tiny/noise.safetensors").unlink()
    with pytest.raises(UserError, match="data/runs/tiny/noise.safetensors is missing: run `dvc repro` first"):
        printed(monkeypatch, capsys)


def test_no_rounds_are_one_message(project: Path, monkeypatch, capsys) -> None:
    with pytest.raises(UserError, match="--rounds is 0: use 1 or more"):
        printed(monkeypatch, capsys, "--rounds", "0")


def test_rounds_are_restarts_of_one_timing() -> None:
    """Protects the spread between rounds, minutes apart, from being counted as one of pairs."""
    one = {"label": "A", "calls": calls_of([[2.0, 2.0]], 1.0)}
    taken = benchmark.with_restart(benchmark.with_restart(None, one), {"calls": calls_of([[3.0, 3.0]], 1.0)})
    assert taken["label"] == "A"
    assert paired_ratios(taken["calls"]) == [pytest.approx([2.0, 2.0]), pytest.approx([3.0, 3.0])]
