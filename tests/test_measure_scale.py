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
from stages.lib.reporting.words.scale_words import scale_sentences
from stages.lib.results.evidence import seal
from stages.lib.results.scale import RECORD, load_scale
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.tiny_project import write_settings
from tests.warm_python import warm_python
from tools.large_comparison import FEW, attributes_row, verdicts_of_few

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
    assert before["sets"]["rows"] == []
    (first,) = Path("scratch").glob("*/*.npz")  # a batch that was begun is kept
    made = first.stat().st_mtime_ns
    assert measure("--batch-size", "12").returncode == 0
    after = record()
    assert first.stat().st_mtime_ns == made
    fp32, int8 = after["sets"]["rows"]
    assert fp32["n"] == int8["n"] == PROMPTS and fp32["identical"] == PROMPTS and fp32["psnr_db"] is None
    assert int8["identical"] < PROMPTS and int8["psnr_db"] > 10
    shorter = measure("--batch-size", "12", "--time-limit", "0", "--commit", "other")
    assert shorter.returncode == 1 and "it is kept" in shorter.stderr and record() == after
    (spread,) = after["spread"]
    assert spread["images"] == 4 and spread["seconds"] > 0 and spread["sha256"] == before["spread"][0]["sha256"]


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
        (("--prompts", "none.csv"), "none.csv is missing"),
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
    assert verdicts_of_few(np.zeros(100), 0)["verdicts"] == {"equal": 1.0}


def record_of(verdict: str, draws: dict[str, float]) -> dict:
    change = {"mean": -3.0, "low": -4.0, "high": -2.0, "verdict": verdict}
    few = {"prompts": 34, "draws": 1000, "verdicts": draws}
    attributes = {"asked": 100, "right": 90, "baseline_right": 93, "change": change, "few": few}
    first = {"label": "FP32", "variant": "fp32", "attributes": attributes, "n": 5000}
    content = {
        "model_label": "Tiny", "baseline_label": "FP32", "gpu": "A GPU", "commit": "abc",
        "spread": [{"gpus": n, "images": 10, "seconds": s, "sha256": "a"} for n, s in ((1, 4.0), (2, 2.5))],
        "sets": {"batch_size": 2, "rows": [first, {**first, "label": "INT4", "variant": "int4"}]},
    }  # fmt: skip
    return {**content, "sha256": seal(content)}


def test_what_few_prompts_say_is_a_sentence(tmp_path):
    for verdict, draws, wanted in (
        ("lower", {"lower": 0.97, "undecided": 0.03}, "So 34 prompts come to the verdict of 5,000. No sample decides"),
        ("equal", {"lower": 0.2, "undecided": 0.8}, "So 34 prompts settle none of these formats. A sample decides"),
    ):  # fmt: skip
        (tmp_path / RECORD).write_text(json.dumps(record_of(verdict, draws)))
        scale = load_scale(tmp_path, "")
        assert scale.spread[1]["speedup"] == 1.6 and scale.same_files and scale.tables == 2
        assert wanted in " ".join(scale_sentences(scale, lambda text: text))


def test_an_edited_record_is_refused(tmp_path):
    record = record_of("lower", {"lower": 1.0})
    record["spread"][1]["seconds"] = 1.0
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"scale\.json was edited after it was measured: measure it again"):
        load_scale(tmp_path, "measure it again")
