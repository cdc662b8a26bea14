"""Verify: figures that follow from the images pass, one changed digit or pixel does not."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from stages.verify import differing, recomputations, recompute
from tests.command import run
from tests.conftest import PROJECT
from tests.tiny_project import images_of, write_images, write_settings

EVALUATE = (
    "python -m stages.evaluate --images data/runs/tiny/images --base data/runs/tiny/models/base "
    "--quality reports/tiny/quality --appearance reports/tiny/appearance --pairs reports/tiny/pairs.json"
)
STAGES = f"""\
stages:
  evaluate:
    cmd: {EVALUATE}
    outs: [reports/tiny/quality, reports/tiny/appearance, reports/tiny/pairs.json]
  benchmark:
    cmd: python -m no.such.module
    outs: [reports/tiny/timing/bf16.json]
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with images and their figures."""
    folder = tmp_path_factory.mktemp("verify") / "project"
    write_settings(folder, ("fp32", "bf16"))
    (folder / "data/runs/tiny/models/base").mkdir(parents=True)
    for name, offset in (("fp32", 0), ("bf16", 5)):
        write_images(folder / "data/runs/tiny/images" / name, images_of(offset))
    done = run(folder, *EVALUATE.split()[2:])
    assert done.returncode == 0, done.stderr
    (folder / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    return folder


@pytest.fixture
def project(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "project")


def test_what_follows_from_the_images_passes_and_a_timing_is_not_run(project):
    done = run(project, "stages.verify")
    assert done.returncode == 0, done.stderr
    assert "1 stages, every quality figure is the same" in done.stdout


def test_a_changed_figure_and_a_changed_image_are_named_and_the_exit_code_says_so(project):
    """Protects against hand-made figures: which file, which key, both values."""
    path = project / "reports/tiny/quality/bf16.json"
    quality = json.loads(path.read_text(encoding="utf-8"))
    quality["per_image"][1]["ssim"] -= 0.001
    path.write_text(json.dumps(quality), encoding="utf-8")
    done = run(project, "stages.verify")
    assert done.returncode == 1
    assert "1 figures do not follow" in done.stderr and "Traceback" not in done.stderr
    assert "reports/tiny/quality/bf16.json: per_image animal ssim is 0." in done.stderr
    Image.new("RGB", (32, 24)).save(project / "data/runs/tiny/images/bf16/animal.png")
    done = run(project, "stages.verify")
    assert done.returncode == 1 and "animal.png is not the image that images.json lists" in done.stderr


def test_missing_figures_are_named(project):
    (project / "reports/tiny/pairs.json").unlink()
    done = run(project, "stages.verify")
    assert done.returncode == 1
    assert "reports/tiny/pairs.json is missing: run `dvc repro evaluate" in done.stderr


def test_numbers_may_differ_in_the_last_digits_only():
    same = {"a": 1.0, "b": [{"id": "x", "c": None}], "d": "word", "e": True}
    assert list(differing(same, {**same, "a": 1.000001}, "f:")) == []
    assert list(differing(same, {**same, "a": 1.0001}, "f:")) == ["f: a is 1.0 stored, 1.0001 recomputed"]
    assert list(differing(same, {**same, "b": [{"id": "x", "c": 0}]}, "f:")) == [
        "f: b x c is null stored, 0 recomputed"
    ]
    assert list(differing(same, {**same, "e": 1}, "f:")) == ["f: e is true stored, 1 recomputed"]
    assert list(differing({"a": 1}, {}, "f:")) == ["f: a is only in the stored figures"]
    assert list(differing([1], [1, 2], "f:")) == ["f: has 1 entries stored, 2 recomputed"]


def test_the_project_s_own_stages_are_found():
    """Every variant's figures, from the real dvc.yaml, and nothing that is not computed from images."""
    found = recomputations(PROJECT)
    assert {item.name.partition("@")[0] for item in found} == {"evaluate", "summarize"}
    assert all(set(item.outputs) <= set(item.words) for item in found)
    assert callable(recompute)
