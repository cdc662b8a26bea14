"""Thousands of images in small: a second run goes on, and the report says what came out."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params, variant_of
from stages.lib.project.sections import safe_name
from stages.lib.results.scale import RECORD, load_scale
from stages.quantize import base_parameters
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.tiny_project import write_settings
from tests.warm_python import warm_python
from tools import measure_scale
from tools.large_comparison import FEW, attributes_row, verdicts_of_few
from tools.many_images import OTHER_NOISE
from tools.measure_scale import making_bytes, spread_over

PROMPTS = FEW + 2


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the tiny model as the working folder, with a file of prompts."""
    write_settings(tmp_path)
    shutil.copytree(tiny_model, tmp_path / "data/tiny")
    header = "id,prompt,kind,complexity,seed,set"
    (tmp_path / "data/calibration.csv").write_text(f"{header}\nlake,A lake,a,b,1,c\nbird,A bird,a,b,2,c\n")
    rows = [f"p{number},A cat number {number},cat,simple,{number},many" for number in range(PROMPTS)]
    (tmp_path / "many.csv").write_text("\n".join([header, *rows, ""]))
    (tmp_path / "reports/machines").mkdir()
    for name in ("stages", "tools", "dvc.yaml"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(*more: str) -> subprocess.CompletedProcess:
    """Run the tool in the working folder."""
    told = ["--prompts", "many.csv", "--variants", "fp32,int8-simulated", "--scratch", "scratch", "--spread", "4"]
    command = [warm_python(), "-m", "tools.measure_scale", *told, "--output", "machines", "--commit", "abc", *more]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=2 * HANGING_S)


def record() -> dict:
    """What it wrote."""
    (path,) = Path("machines").glob(f"*/{RECORD}")
    return json.loads(path.read_text())


def test_many_images_are_compared_and_the_same_command_goes_on(project):
    stopped = measure("--batch-size", "12", "--time-limit", "0")
    assert "run it again to go on" in stopped.stdout, stopped.stderr
    before = record()
    assert before["sets"]["rows"] == [] and before["sets"]["margin"] == 1 and before["sets"]["fid_images"] == 10000
    assert [run["prompts"] for run in before["origin"]["runs"]] == [12]
    (first,) = Path("scratch").glob("*/*.npz")  # a batch that was begun is kept
    made = first.stat().st_mtime_ns
    assert measure("--batch-size", "12").returncode == 0
    after = record()
    assert first.stat().st_mtime_ns == made
    fp32, int8 = after["sets"]["rows"]
    assert fp32["n"] == int8["n"] == PROMPTS and fp32["identical"] == PROMPTS and fp32["psnr_db"] is None
    assert int8["identical"] < PROMPTS and int8["psnr_db"] > 10
    runs = after["origin"]["runs"]  # what a later run did does not hide what an earlier one did
    assert [(run["commit"], run["prompts"]) for run in runs] == [("abc", 12), ("abc", PROMPTS - 12)]
    assert all(run["processes"] >= 1 and run["seconds"] > 0 for run in runs) and after["origin"]["compared"] == "abc"
    shorter = measure("--batch-size", "12", "--time-limit", "0", "--commit", "other")
    assert shorter.returncode == 1 and "it is kept" in shorter.stderr and record() == after
    (spread,) = after["spread"]
    assert spread["images"] == 4 and spread["seconds"] > 0 and spread["digest"] == before["spread"][0]["digest"]
    assert spread["gpus"] == 0  # params.yaml says `device: cpu`


def test_a_format_that_cannot_run_is_named_before_anything_is_generated(project):
    params = YAML(typ="safe").load(Path("params.yaml"))
    params["variants"]["fp8"] = {"label": "FP8", "backend": "torchao", "weights": "float8", "device": "cuda"}
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)
    refused = measure("--variants", "fp32,fp8")
    assert refused.returncode == 1 and "cannot run here: fp8: leave them out of --variants" in refused.stderr
    assert not Path("scratch/project/data/runs/tiny/noise.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "0"), "'0' is no whole number from 1"),
        (("--spread", "-1"), "'-1' is no whole number from 0"),
        (("--prompts", "none.csv"), "none.csv is missing: restore it, or name another file as --prompts"),
        (("--prompts", "data"), "data is a folder: name a CSV file as --prompts"),
        (("--scratch", "many.csv"), "many.csv is a file: name a folder"),
        (("--scratch", "many.csv/in"), "many.csv is a file: name a folder"),
        (("--output", "many.csv"), "many.csv is a file: name a folder"),
        (("--prompts", "data/prompts.csv"), "has 3 prompts: large sets are compared from 34 on"),
        (("--variants", "fp32,fp33"), "there is no variant 'fp33'"),
    ],
)
def test_a_mistake_is_one_message(project, words, message):
    refused = measure(*words)
    assert refused.returncode and message in refused.stderr and "Traceback" not in refused.stderr
    assert not Path("scratch").exists()


def test_a_folder_of_the_user_is_not_deleted(project):
    mine = Path("scratch/project/mine.txt")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    refused = measure()
    assert refused.returncode == 1 and "was not made by this tool" in refused.stderr and mine.read_text() == "mine"


def test_models_are_made_side_by_side_as_far_as_there_is_memory(tiny_model):
    """Protects a small machine from as many processes that quantize as it has cores; calibration counts."""
    int8 = {"weights": "int8", "activations": "int8", "simulated": True}
    simple, calibrated = (
        variant_of(name="v", label="V", backend="torch", **own) for own in ({"weights": "float16"}, int8)
    )
    few, more = making_bytes([simple], tiny_model), making_bytes([simple, calibrated], tiny_model)
    largest = 4 * max(base_parameters(tiny_model).values())
    assert few == pytest.approx(1.6 * largest + 2**30) and more == pytest.approx(2.6 * largest + 2**30)


def test_a_cpu_that_params_ask_for_is_no_gpu_although_some_are_there(monkeypatch, tmp_path):
    """Protects the table of GPUs from rows that no GPU made."""
    write_settings(tmp_path / "settings")
    params = load_params(tmp_path / "settings/params.yaml")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr(measure_scale, "run_python", lambda name, words, *_, **own: Path(words[-1]).mkdir(parents=True))
    monkeypatch.chdir(tmp_path)
    assert [(row["gpus"], row["images"]) for row in spread_over(tmp_path, params, 4, "abc")] == [(0, 4)]


def test_no_variant_can_have_the_name_of_the_other_noise():
    with pytest.raises(ValueError, match="use letters"):
        safe_name(OTHER_NOISE)


def test_prompts_that_name_no_attribute_have_no_row():
    assert attributes_row(np.zeros((100, 2)), np.zeros((100, 2)), 0) is None


def test_a_small_loss_is_seen_by_many_prompts_and_seldom_by_few():
    """One image of twenty loses one of two attributes: 2.5 points, which 34 prompts cannot tell from 1."""
    baseline = np.tile([2.0, 2.0], (5000, 1))
    own = baseline.copy()
    own[::20, 0] = 1
    found = attributes_row(own, baseline, 0)
    assert found["change"]["verdict"] == "lower" and found["change"]["mean"] == pytest.approx(-2.5)
    assert found["right"] == 10_000 - 250 and found["asked"] == 10_000
    assert found["few"]["verdicts"].get("undecided", 0) > 0.5
    assert found["few"]["verdicts"].get("equal", 0) == 0


def test_a_sample_without_any_change_proves_nothing_and_thousands_do():
    """Protects against an interval of no width: where none of 34 images changed, three of them may; or of 5,000."""
    assert verdicts_of_few(np.zeros(100), 100.0, 0)["verdicts"] == {"undecided": 1.0}
    baseline = np.tile([2.0, 2.0], (5000, 1))
    found = attributes_row(baseline.copy(), baseline, 0)
    assert found["change"]["verdict"] == "equal" and found["few"]["verdicts"] == {"undecided": 1.0}
    assert found["change"]["high"] == pytest.approx(3 / 5000 * 100)
    assert attributes_row(baseline, baseline, 0)["change"] is None  # the baseline itself


def test_an_edited_record_is_refused(tmp_path):
    content = json.loads((PROJECT / "reports/machines/2ae88f9e46fc" / RECORD).read_text())
    content["spread"][0]["seconds"] = 1.0
    (tmp_path / RECORD).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"scale\.json was edited after it was measured: measure it again"):
        load_scale(tmp_path, "measure it again")
