"""Verify: figures that follow from the images pass, one changed digit or pixel does not."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.lib.project.lock_file import digest
from stages.lib.project.measurement import Measurement
from stages.verify import GENERATING, RECOMPUTED, against_what_is_there, differing, stages_of
from tests.command import run
from tests.conftest import PROJECT
from tests.tiny_project import images_of, write_images, write_json, write_settings

EVALUATE = (
    "python -m stages.evaluate --images data/runs/tiny/images --base data/runs/tiny/models/base "
    "--quality reports/tiny/quality --appearance reports/tiny/appearance --pairs reports/tiny/pairs.json"
)
STAGES = f"""\
stages:
  evaluate:
    cmd: {EVALUATE}
    outs: [reports/tiny/quality, reports/tiny/appearance, reports/tiny/pairs.json]
  generate:
    foreach: [bf16]
    do:
      cmd: python -m no.such.module
      outs: ["data/runs/tiny/images/${{item}}"]
  benchmark:
    foreach: [bf16]
    do:
      cmd: python -m no.such.module
      outs: ["reports/tiny/timing/${{item}}.json"]
  quantize:
    foreach: [bf16]
    do:
      cmd: python -m no.such.module
      outs: ["data/runs/tiny/models/${{item}}", "reports/tiny/size/${{item}}.json"]
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A project with images, a model, and what is recorded of them."""
    folder = tmp_path_factory.mktemp("verify") / "project"
    write_settings(folder, ("fp32", "bf16"))
    (folder / "data/runs/tiny/models/base").mkdir(parents=True)
    for name, offset in (("fp32", 0), ("bf16", 5)):
        write_images(folder / "data/runs/tiny/images" / name, images_of(offset))
    done = run(folder, *EVALUATE.split()[2:])
    assert done.returncode == 0, done.stderr
    (folder / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    times_s = Measurement("s", (0.3, 0.1, 0.25))
    write_json(folder / "reports/tiny/timing/bf16.json", {
        "measured": True, "latency_s": 0.25, "measurements": [{"name": "latency_s", **times_s.as_json()}],
        "calls": [{"role": "variant", "latency_s": time_s} for time_s in times_s.samples],
    })  # fmt: skip
    shutil.copytree(tiny_model, folder / "data/runs/tiny/models/bf16")
    size_mib = (tiny_model / "unet/diffusion_pytorch_model.safetensors").stat().st_size / 1024**2
    size = {"disk_mib": size_mib, "components": [{"component": "unet", "disk_mib": size_mib}]}
    write_json(folder / "reports/tiny/size/bf16.json", size)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    write_lock(folder)
    return folder


def write_lock(folder: Path) -> None:
    """What DVC would note after those stages."""
    entries = {
        item.name: {
            "cmd": " ".join(item.words),
            "outs": [{"path": path, "md5": digest(folder / path)} for path in item.outputs],
        }
        for item in stages_of(folder)
    }
    YAML().dump({"schema": "2.0", "stages": entries}, folder / "dvc.lock")


@pytest.fixture
def project(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "project")


def test_what_follows_from_the_images_passes_and_a_timing_is_not_run(project):
    done = run(project, "stages.verify")
    assert done.returncode == 0, done.stderr
    assert "1 stages, every quality figure is the same; 4 stages, every record is the one" in done.stdout
    assert "not checked: whether times and memory would come out so again" in done.stdout


def test_a_changed_figure_and_a_changed_image_are_named_and_the_exit_code_says_so(project):
    """Protects against hand-made figures: which file, which key, both values."""
    path = project / "reports/tiny/quality/bf16.json"
    quality = json.loads(path.read_text(encoding="utf-8"))
    quality["per_image"][1]["ssim"] -= 0.001
    path.write_text(json.dumps(quality), encoding="utf-8")
    done = run(project, "stages.verify")
    assert done.returncode == 1
    assert "2 figures do not follow" in done.stderr and "Traceback" not in done.stderr
    assert "reports/tiny/quality is not what evaluate wrote" in done.stderr
    assert "reports/tiny/quality/bf16.json: per_image animal ssim is 0." in done.stderr
    Image.new("RGB", (32, 24)).save(project / "data/runs/tiny/images/bf16/animal.png")
    done = run(project, "stages.verify")
    assert done.returncode == 1 and "animal.png is not the image that images.json lists" in done.stderr


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (
            "timing",
            '"variant", "latency_s": 0.3',
            '"variant", "latency_s": 0.2',
            "latency_s has other samples than the calls of the variant",
        ),
        ("timing", '"latency_s": 0.25, "m', '"latency_s": 0.15, "m', "latency_s is 0.15 stated, 0.25 by its samples"),
        ("timing", '"median": 0.25', '"median": 0.15', "median is 0.15 stated, 0.25 by its samples"),
        ("size", '"component": "unet", "disk_mib": ', '"component": "unet", "disk_mib": 1', "unet disk_mib is 1"),
    ],
)
def test_a_record_agrees_with_its_calls_and_files_even_if_the_ledger_was_edited_with_it(project, path, old, new, said):
    """Protects against hand-made times and sizes."""
    file = project / f"reports/tiny/{path}/bf16.json"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    stages = stages_of(project)
    both = list(against_what_is_there(stages, project))
    assert f"reports/tiny/{path}/bf16.json is not what" in both[0] and said in both[1]
    write_lock(project)
    assert [said in line for line in against_what_is_there(stages, project)] == [True]


@pytest.mark.parametrize("path", ["timing", "size"])
@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"measured": true, "disk_mib": 1}', '{"disk_mib": 1, "components": [1]}']
)
def test_a_record_of_another_form_is_a_line(project, path, content):
    (project / f"reports/tiny/{path}/bf16.json").write_text(content, encoding="utf-8")
    lines = list(against_what_is_there(stages_of(project), project))
    assert all(line.startswith(f"reports/tiny/{path}/bf16.json is no") for line in lines) and lines


@pytest.mark.parametrize(
    "path", ["images/bf16/latents.safetensors", "images/bf16/cat.png", "models/bf16/unet/config.json"]
)
def test_what_records_are_of_is_what_lies_beside_them(project, path):
    """Protects from images, latents or a model that were exchanged afterwards."""
    (project / "data/runs/tiny" / path).write_bytes(b"another")
    (line,) = [line for line in against_what_is_there(stages_of(project), project) if "not what" in line]
    assert line.startswith(f"data/runs/tiny/{path[:11]}")


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
    """Every stage of the real dvc.yaml, with its outputs as words of its command."""
    found = {item.name.partition("@")[0]: item for item in stages_of(PROJECT)}
    assert {*RECOMPUTED, *GENERATING, "quantize", "benchmark", "generate"} <= found.keys()
    assert all(set(found[name].outputs) <= set(found[name].words) for name in (*RECOMPUTED, *GENERATING))
