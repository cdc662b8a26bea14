"""The stage `quantize`: a variant's folder and its size report."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import quantize
from stages.calibrate import collect
from stages.lib.calibration import write_inputs
from stages.lib.errors import UserError, run_stage
from stages.lib.params import COMPONENTS
from stages.lib.prompts import Prompt
from tests.reference import reference_pipeline

PROJECT = Path(__file__).resolve().parents[2]


def _run(monkeypatch, base: Path, out: Path, variant: str) -> dict:
    monkeypatch.chdir(PROJECT)
    size = out / "size" / f"{variant}.json"
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "quantize",
            "--variant",
            variant,
            "--base",
            str(base),
            "--calibration",
            str(out / "calibration.safetensors"),
            "--output",
            str(out / variant),
            "--size",
            str(size),
        ],  # fmt: skip
    )
    quantize.main()
    return json.loads(size.read_text(encoding="utf-8"))


@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16", "int8-cpu", "int8-simulated", "int4-simulated"])
def test_the_report_adds_up(monkeypatch, tiny_model, tmp_path, capsys, variant):
    """Totals are sums of components, operators hold every parameter, and the disk figure is that of the files."""
    report = _run(monkeypatch, tiny_model, tmp_path, variant)
    assert [row["component"] for row in report["components"]] == list(COMPONENTS)
    for key in ("parameters", "theoretical_mib", "disk_mib", "memory_mib"):
        assert report[key] == pytest.approx(sum(row[key] for row in report["components"]), rel=1e-5)
    assert sum(row["parameters"] for row in report["operators"]) == report["parameters"] == 471871
    files = sum(path.stat().st_size for path in (tmp_path / variant).rglob("*.safetensors"))
    assert report["disk_mib"] == pytest.approx(files / 2**20, rel=1e-5)
    assert report["parameters_left_out"] == sum(row["parameters_left_out"] for row in report["components"]) == 0
    assert sum(row["stored_mib"] for row in report["operators"]) < report["disk_mib"]
    assert report["overhead_percent"] == pytest.approx(
        100 * (report["disk_mib"] / report["theoretical_mib"] - 1), abs=0.01
    )
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"quantize: {report['label']}, ") and line.endswith(" s") and "\n" not in line


def test_compression_is_what_the_format_really_gives(monkeypatch, tiny_model, tmp_path):
    """FP16 halves; INT8 that is simulated is no smaller than FP16; dynamic INT8 leaves convolutions in FP32."""
    reports = {name: _run(monkeypatch, tiny_model, tmp_path, name) for name in ("fp32", "fp16", "int8-cpu")}
    reports["int8-simulated"] = _run(monkeypatch, tiny_model, tmp_path, "int8-simulated")
    memory = {name: report["memory_mib"] for name, report in reports.items()}
    assert memory["fp16"] == pytest.approx(memory["fp32"] / 2, rel=0.02)
    assert memory["int8-simulated"] == memory["fp16"]
    assert reports["int8-simulated"]["stored_dtype"] == "float16"
    assert reports["int8-simulated"]["overhead_percent"] > 100
    four = _run(monkeypatch, tiny_model, tmp_path, "int4-simulated")
    assert (four["disk_mib"], four["weights"]) == (reports["int8-simulated"]["disk_mib"], "int4")
    assert four["theoretical_mib"] == pytest.approx(471871 * (4 + 16 / 64) / 8 / 2**20, rel=1e-5)
    operators = {(row["component"], row["operator"], row["dtype"]) for row in reports["int8-cpu"]["operators"]}
    assert ("unet", "Conv2d", "float32") in operators and ("unet", "Linear", "int8") in operators
    linear = sum(row["parameters"] for row in reports["int8-cpu"]["operators"] if row["dtype"] == "int8")
    assert memory["fp32"] - memory["int8-cpu"] == pytest.approx(linear * 3 / 2**20, rel=0.02)


def test_what_a_back_end_leaves_out_is_said(monkeypatch, tiny_model, tmp_path, capsys):
    """A graph of the VAE's decoder is not smaller by magic: the report counts the encoder's parameters apart."""
    pytest.importorskip("nncf", reason="the back end's package is optional")
    report = _run(monkeypatch, tiny_model, tmp_path, "int8-openvino-weights")
    left_out = {row["component"]: row["parameters_left_out"] for row in report["components"]}
    encoder = report["parameters_left_out"]
    assert left_out == {"unet": 0, "vae": encoder, "text_encoder": 0, "safety_checker": 0} and encoder > 0
    assert report["parameters"] + encoder == 471871
    assert f"{encoder:,} parameters that drawing does not need left out" in capsys.readouterr().out


def test_ranges_of_activations_need_the_calibration_file(monkeypatch, tiny_model, tmp_path):
    """Full INT8 without it is one message."""
    with pytest.raises(UserError, match="calibration.safetensors is missing: run `dvc repro calibrate`"):
        _run(monkeypatch, tiny_model, tmp_path, "w8a8-simulated")
    pytest.importorskip("nncf", reason="the back end's package is optional")
    with pytest.raises(UserError, match="calibration.safetensors is missing: run `dvc repro calibrate`"):
        _run(monkeypatch, tiny_model, tmp_path, "int8-openvino")


def test_scales_of_activations_are_counted(monkeypatch, tiny_model, tmp_path):
    """The size report of a variant with calibrated activations misses no byte of its files and no parameter."""
    pipeline = reference_pipeline(tiny_model)
    pipeline.register_modules(safety_checker=None)
    prompt = Prompt(id="dog", prompt="a dog", kind="animal", complexity="low", seed=7, set="calibration")
    inputs = collect(pipeline, [prompt], steps=2, guidance_scale=7.5, unet_calls=1, seed=0)
    write_inputs(tmp_path / "calibration.safetensors", inputs)
    report = _run(monkeypatch, tiny_model, tmp_path, "w8a8-simulated")
    assert report["parameters"] == 471871 and report["parameters_left_out"] == 0
    files = sum(path.stat().st_size for path in (tmp_path / "w8a8-simulated").rglob("*.safetensors"))
    assert report["disk_mib"] == pytest.approx(files / 2**20, rel=1e-5)
    scales = [row for row in report["operators"] if row["dtype"] == "int8"]
    assert {row["operator"] for row in scales} == {"Conv2d", "Linear"} and not any(row["parameters"] for row in scales)


def test_a_mistake_leaves_nothing_half_written(monkeypatch, tiny_model, tmp_path, capsys):
    """An overflow in the last component: one message, exit 1, neither folder nor report."""
    base = shutil.copytree(tiny_model, tmp_path / "base")
    path = base / "safety_checker" / "model.safetensors"
    state = load_file(path)
    state["visual_projection.weight"] = torch.full_like(state["visual_projection.weight"], 1e6)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(SystemExit, match=r"^error: .*safety_checker: tensor 'visual_projection.weight'"):
        run_stage(lambda: _run(monkeypatch, base, tmp_path / "out", "fp16"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_unknown_variant_names_the_declared_ones(monkeypatch, tiny_model, tmp_path):
    """A misspelt name is not a traceback."""
    with pytest.raises(UserError, match="no variant 'int4'.*fp32"):
        _run(monkeypatch, tiny_model, tmp_path, "int4")
