"""The stage `quantize`: a variant's folder and its size report."""

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import quantize
from stages.lib.models.calibration import write_calls
from stages.lib.models.components import write_component
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.params import load_params
from tests.reference import COMPONENTS, calibration_of
from tests.warm_python import warm_python

PROJECT = Path(__file__).resolve().parents[2]
# Beside the shipped variants.
MORE_VARIANTS = """
variants:
  int4-groups: {label: INT4 groups, backend: torch, weights: int4, granularity: group, simulated: true}
"""

# In these a process that has imported its libraries by itself, as users have it, measures memory.
MEASURED_COLD = ("fp32", "int8-cpu")


def _run(monkeypatch, base: Path, out: Path, variant: str) -> dict:
    if variant not in MEASURED_COLD:
        monkeypatch.setattr(sys, "executable", warm_python())
    params = (PROJECT / "params.yaml").read_text(encoding="utf-8").replace("\nvariants:\n", MORE_VARIANTS)
    out.mkdir(exist_ok=True)
    (out / "params.yaml").write_text(params, encoding="utf-8")
    monkeypatch.chdir(out)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    size = out / "size" / f"{variant}.json"
    environment = out / "environment.json"
    environment.parent.mkdir(parents=True, exist_ok=True)
    environment.write_text(json.dumps({"obstacles": dict.fromkeys(load_params().variants)}), encoding="utf-8")
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
            "--environment",
            str(environment),
            "--spare",
            str(out / "spare.yaml"),
            "--output",
            str(out / variant),
            "--size",
            str(size),
        ],  # fmt: skip
    )
    quantize.main()
    return json.loads(size.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Made:
    """A variant: its size report, its folder, and what the stage said."""

    report: dict
    folder: Path
    said: str


@pytest.fixture(scope="module")
def made(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The stage run for a variant of the tiny model, once."""

    @cache
    def run_once(variant: str) -> Made:
        folder, said = tmp_path_factory.mktemp(variant), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
            return Made(_run(patch, tiny_model, folder, variant), folder / variant, said.getvalue())

    return run_once


@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16", "int8-cpu", "int8-simulated", "int4-groups"])
def test_the_report_adds_up(made, variant):
    """Totals are sums of components, operators hold every parameter, and the disk figure is that of the files."""
    report = made(variant).report
    assert [row["component"] for row in report["components"]] == list(COMPONENTS)
    parts = ("weights_mib", "scales_mib", "unquantized_mib", "container_mib")
    for key in ("parameters", "theoretical_mib", "disk_mib", "memory_mib", "load_growth_mib", *parts):
        assert report[key] == pytest.approx(sum(row[key] for row in report["components"]), rel=1e-5)
    assert sum(row["parameters"] for row in report["operators"]) == report["parameters"] == 471871
    files = sum(path.stat().st_size for path in made(variant).folder.rglob("*.safetensors"))
    assert report["disk_mib"] == pytest.approx(files / 2**20, rel=1e-5)
    assert report["parameters_left_out"] == sum(row["parameters_left_out"] for row in report["components"]) == 0
    assert sum(row["stored_mib"] for row in report["operators"]) < report["disk_mib"]
    assert report["overhead_percent"] == pytest.approx(
        100 * (report["disk_mib"] / report["theoretical_mib"] - 1), abs=0.01
    )
    for row in [report, *report["components"]]:
        assert row["disk_mib"] == pytest.approx(sum(row[part] for part in parts), rel=0.01)
    # Pages of a process come and go by a MiB beside other programs, which is as much as this model has.
    assert report["load_growth_mib"] == pytest.approx(report["memory_mib"], rel=0.5, abs=1)
    # Importing PyTorch alone takes more than 100 MiB.
    assert report["quantize_s"] > 0 and report["quantize_peak_mib"] > 100
    line = made(variant).said.strip()
    assert line.startswith(f"quantize: {report['label']}, ") and line.endswith(" s") and "\n" not in line


def test_compression_is_what_the_format_really_gives(made):
    """FP16 halves; INT8 that is simulated is no smaller than FP16; dynamic INT8 leaves convolutions in FP32."""
    reports = {name: made(name).report for name in ("fp32", "fp16", "int8-cpu", "int8-simulated")}
    memory = {name: report["memory_mib"] for name, report in reports.items()}
    assert memory["fp16"] == pytest.approx(memory["fp32"] / 2, rel=0.02)
    assert memory["int8-simulated"] == memory["fp16"]
    assert reports["int8-simulated"]["stored_dtype"] == "float16"
    assert reports["int8-simulated"]["overhead_percent"] > 100
    four = made("int4-groups").report
    assert (four["disk_mib"], four["weights"]) == (reports["int8-simulated"]["disk_mib"], "int4")
    assert four["theoretical_mib"] == pytest.approx(471871 * (4 + 16 / 64) / 8 / 2**20, rel=1e-5)
    operators = {(row["component"], row["operator"], row["dtype"]) for row in reports["int8-cpu"]["operators"]}
    assert ("unet", "Conv2d", "float32") in operators and ("unet", "Linear", "int8") in operators
    linear = sum(row["parameters"] for row in reports["int8-cpu"]["operators"] if row["dtype"] == "int8")
    assert memory["fp32"] - memory["int8-cpu"] == pytest.approx(linear * 3 / 2**20, rel=0.02)


def test_what_a_back_end_leaves_out_is_said(monkeypatch, tiny_model, tmp_path, capsys):
    """A graph of the VAE's decoder is not smaller by magic: the report counts the encoder's parameters apart."""
    pytest.importorskip("nncf", reason="the back end's package is optional")
    write_calls(tmp_path / "calibration.safetensors", calibration_of(tiny_model, denoiser_calls=1))
    report = _run(monkeypatch, tiny_model, tmp_path, "int8-openvino-weights")
    left_out = {row["component"]: row["parameters_left_out"] for row in report["components"]}
    encoder = report["parameters_left_out"]
    assert left_out == {"unet": 0, "vae": encoder, "text_encoder": 0, "safety_checker": 0} and encoder > 0
    assert report["parameters"] + encoder == 471871
    assert f"{encoder:,} parameters that generation does not need left out" in capsys.readouterr().out


def test_ranges_of_activations_need_the_calibration_file(monkeypatch, tiny_model, tmp_path):
    """Full INT8 without it is one message."""
    with pytest.raises(UserError, match="calibration.safetensors is missing: run `dvc repro calibrate`"):
        _run(monkeypatch, tiny_model, tmp_path, "w8a8-simulated")
    pytest.importorskip("nncf", reason="the back end's package is optional")
    with pytest.raises(UserError, match="calibration.safetensors is missing: run `dvc repro calibrate`"):
        _run(monkeypatch, tiny_model, tmp_path, "int8-openvino")


def test_scales_of_activations_are_counted(monkeypatch, tiny_model, tmp_path):
    """The size report of a variant with calibrated activations misses no byte of its files and no parameter."""
    write_calls(tmp_path / "calibration.safetensors", calibration_of(tiny_model, denoiser_calls=1))
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
    left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert left == ["environment.json", "params.yaml"]


def test_an_unknown_variant_names_the_declared_ones(monkeypatch, tiny_model, tmp_path):
    """A misspelt name is not a traceback."""
    with pytest.raises(UserError, match="no variant 'int4'.*fp32"):
        _run(monkeypatch, tiny_model, tmp_path, "int4")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("time_embedding.linear_1.weight_scale"), "'time_embedding.linear_1.weight_scale' is"),
        (lambda state: state.pop("conv_in.bias"), "tensor 'conv_in.bias' is missing"),
        (
            lambda state: state.update({"conv_in.weight_scale": torch.ones(50_000)}),
            "'conv_in.weight_scale' (+200,000 b",
        ),
        (lambda state: state.update(stranger=torch.ones(3)), "tensor 'stranger' belongs to no layer"),
    ],
    ids=["no scale", "no bias", "a scale of nothing", "a stranger"],
)
def test_bytes_that_the_format_does_not_explain_stop_the_stage(monkeypatch, tiny_model, tmp_path, change, said):
    """A back end that stores too much or too little is told by the tensor's name, and leaves nothing behind."""

    def spoilt(out: Path, component: str, state: dict) -> None:
        if component == "unet":
            change(state)
        write_component(out, component, state)

    monkeypatch.setattr("stages.lib.formats.torch_dynamic.backend.write_component", spoilt)
    with pytest.raises(UserError, match=re.escape(said)):
        _run(monkeypatch, tiny_model, tmp_path, "int8-cpu")
    assert not (tmp_path / "int8-cpu").exists() and not (tmp_path / "size").exists()


def test_a_variant_that_cannot_run_here_is_left_out_with_its_reason(monkeypatch, tiny_model, tmp_path, capsys):
    """Nothing is made; the model folder and the size report hold the reason that `environment` found."""
    monkeypatch.setattr(quantize, "obstacle_of", lambda *_: {"reason": "not_installed", "packages": ["x"]})
    report = _run(monkeypatch, tiny_model, tmp_path, "bf16")
    assert report["unavailable"] == {"reason": "not_installed", "packages": ["x"]}
    assert [path.name for path in (tmp_path / "bf16").iterdir()] == ["unavailable.json"]
    assert capsys.readouterr().out == "quantize: BF16 is left out (not_installed, packages x)\n"


def test_too_little_memory_stops_it_before_it_begins(monkeypatch, tiny_model, tmp_path):
    """Protects from being killed halfway: nothing is written, and the message says what is needed."""
    import psutil

    class Machine:
        available = 2**20

    monkeypatch.setattr(psutil, "virtual_memory", Machine)
    with pytest.raises(UserError, match="making FP32 needs about 0.5 GiB of memory, and 0.0 GiB are available"):
        _run(monkeypatch, tiny_model, tmp_path, "fp32")
    assert not (tmp_path / "fp32").exists()
