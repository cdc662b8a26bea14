"""The same network does the same work in every back end: products of one image by operator, to 1 %."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from stages import calibrate, quantize
from stages.lib.project.memory import SamplingMeter
from stages.lib.timing.timed_model import load
from tests.conftest import PROJECT
from tests.stages.test_benchmark import task
from tests.tiny_project import OBSTACLES, write_json, write_models, write_settings
from tests.warm_python import warm_python

VARIANTS = {
    "int8-torchao": "backend: torchao, weights: int8, activations: int8, compute: float32",
    "int8-openvino": "backend: openvino, weights: int8, activations: int8, compute: float32",
    "fp32-onnxruntime": "backend: onnxruntime, weights: float32, compute: float32",
    "int8-onnxruntime": "backend: onnxruntime, weights: int8, activations: int8, compute: float32",
}


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the baseline, its noise, and inputs to quantize with."""
    folder = tmp_path_factory.mktemp("work") / "project"
    write_settings(folder)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    lines = [f"  {name}: {{label: {name}, device: cpu, {keys}}}" for name, keys in VARIANTS.items()]
    text = text.replace("variants:\n", "\n".join(["variants:", *lines, ""]))
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    prompts = (folder / "data/prompts.csv").read_text(encoding="utf-8")
    others = prompts.replace("A ", "One ").replace(",study", ",calibration")
    (folder / "data/calibration.csv").write_text(others, encoding="utf-8")
    environment = {"obstacles": OBSTACLES | dict.fromkeys(VARIANTS), "threads": 1}
    write_json(folder / "reports/environment.json", environment)
    write_models(folder, tiny_model, ("fp32",))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["calibrate", "--base", str(tiny_model), "--output", "data/inputs.safetensors"])
        calibrate.main()
    return folder


@pytest.fixture(scope="module")
def expected(project: Path) -> Counter:
    """What PyTorch multiplies in FP32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return work_of_call("fp32")


def work_of_call(name: str) -> Counter:
    """Multiply-accumulates by component and operator of one call, as a timed process counts them."""
    threads = torch.get_num_threads()
    try:
        worker, _ = load(task(variant=name, folder=f"data/runs/tiny/models/{name}"), SamplingMeter())
        rows = worker.executed()["rows"]
    finally:
        torch.set_num_threads(threads)
    found = Counter()
    for row in rows:
        found[row["component"], row["operator"]] += row["multiply_accumulates"]
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_work_by_operator_is_that_of_pytorch(
    project: Path, tiny_model: Path, expected: Counter, name: str, monkeypatch
) -> None:
    """Protects INT8 shares, throughputs and predictions from a back end that counts other things."""
    if "openvino" in name or "onnxruntime" in name:
        pytest.importorskip(name.partition("-")[2], reason="the back end's package is optional")
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setattr(sys, "executable", warm_python())
    words = ["--variant", name, "--base", str(tiny_model), "--calibration", "data/inputs.safetensors"]
    words += [
        "--spare",
        "none.yaml",
        "--environment",
        "reports/environment.json",
        "--output",
        f"data/runs/tiny/models/{name}",
    ]
    monkeypatch.setattr(sys, "argv", ["quantize", *words, "--size", f"reports/{name}.json"])
    quantize.main()
    found = work_of_call(name)
    assert found.keys() == expected.keys()
    assert found == {key: pytest.approx(count, rel=0.01) for key, count in expected.items()}
