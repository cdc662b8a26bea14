"""Stage summarize: rows join what was measured, every two variants are compared, nothing stale is joined."""

import json
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from stages import evaluate, generate, summarize
from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.results.speeds import own_ratio
from stages.lib.results.summary import runtime_speedups
from tests.timings import calls_of, spread
from tests.tiny_project import (
    FINGERPRINT,
    OBSTACLES,
    choose_architecture,
    edit_json,
    images_of,
    write_images,
    write_json,
    write_settings,
)

OFFSETS = {"fp32": 0, "bf16": 5, "int8-simulated": 20}


def write_reports(reports: Path, name: str, dtypes: tuple[str, str], disk_mib: float, latency_s: float | None) -> None:
    """Size and timing of one variant, with figures that make quotients easy."""
    size = {
        "parameters": 1000,
        "theoretical_mib": 4.0,
        "parameters_left_out": 0,
        "disk_mib": disk_mib,
        "runtime_mib": disk_mib,
        "memory_mib": 5.0,
        "load_growth_mib": 6.0,
        "overhead_percent": 1.0,
        "quantize_s": 6.0,
        "quantize_peak_mib": 700.0,
    }
    names = {"variant": name, "label": name}
    write_json(
        reports / f"size/{name}.json",
        {**names, "backend": "torch", "weights": dtypes[0], "stored_dtype": dtypes[1], **size},
    )
    timing = {"measured": False, "reason": "simulated"}
    if latency_s:
        timing = {
            "measured": True,
            "fingerprint": FINGERPRINT,
            "ratio": asdict(own_ratio({"calls": calls_of([[2.0 / latency_s] * 2], 2.0)})),
            "calls": calls_of([[2.0 / latency_s] * 2], 2.0),
            "libraries_mib": 150.0,
            "load_time_s": 3.0,
            "first_call_s": 4.0,
            "load_peak_mib": 100.0,
            "run_peak_mib": 200.0,
            "memory_kind": "rss",
            "executed": [],
            "baseline_executed": [],
            "extrapolated": False,
            "baseline_extrapolated": False,
        }
    write_json(reports / f"timing/{name}.json", names | timing)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which everything before summarize is done."""
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path)
    (tmp_path / "data/base").mkdir(parents=True)
    write_reports(tmp_path / "reports/tiny", "fp32", ("float32", "float32"), 8.0, 2.0)
    write_reports(tmp_path / "reports/tiny", "bf16", ("bfloat16", "bfloat16"), 4.0, 1.0)
    write_reports(tmp_path / "reports/tiny", "int8-simulated", ("int8", "float16"), 4.0, None)
    for name, offset in OFFSETS.items():
        write_images(tmp_path / "data/runs/tiny/images" / name, images_of(offset))
    evaluate_all(monkeypatch)
    command = "summarize --reports reports --images data/runs/tiny/images --output reports/tiny/summary.json"
    command += " --metrics reports/tiny/metrics --rows reports/tiny/rows.json"
    monkeypatch.setattr(sys, "argv", command.split())
    return tmp_path


def evaluate_all(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "evaluate --images data/runs/tiny/images --base data/base --quality reports/tiny/quality"
    command += " --appearance reports/tiny/appearance --pairs reports/tiny/pairs.json"
    monkeypatch.setattr(sys, "argv", command.split())
    evaluate.main()


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_row_joins_size_timing_and_quality(project: Path) -> None:
    """Protects compression's direction, and that a simulated variant has no speed but a reason."""
    summarize.main()
    summary = read(project / "reports/tiny/summary.json")
    assert summary["model"] == {"name": "tiny", "label": "Tiny model"} and summary["baseline"] == "fp32"
    fp32, bf16, simulated = summary["variants"]
    assert (fp32["compression"], bf16["compression"]) == (1, 2)
    assert (bf16["latency_s"], bf16["speedup"], bf16["restarts"], bf16["timing_reason"]) == (1, 2, 1, None)
    assert (bf16["run_peak_mib"], bf16["model_peak_mib"]) == (200, 50)
    assert bf16["psnr_db"] == pytest.approx(20 * math.log10(255 / 5), abs=1e-3)
    assert (simulated["latency_s"], simulated["speedup"], simulated["run_peak_mib"]) == (None, None, None)
    assert (simulated["simulated"], simulated["timing_reason"], simulated["stored_dtype"]) == (
        True,
        "simulated",
        "float16",
    )
    assert not any(isinstance(value, list | dict) for row in summary["variants"] for value in row.values())


def test_the_format_is_told_apart_from_its_runtime(project: Path) -> None:
    """Protects the second ratio: 3 times FP32 in PyTorch is 1.5 times FP32 in a runtime that alone gives 2."""
    settings = project / "params.yaml"
    runtime = "{label: %s, backend: openvino, weights: %s, device: cpu, compute: float32}"
    lines = [f"  {name}: {runtime % (name, name)}" for name in ("float32", "int8")]
    text = settings.read_text(encoding="utf-8").replace("variants:", "\n".join(["variants:", *lines]))
    settings.write_text(text.replace("baseline: float32", "baseline: fp32"), encoding="utf-8")
    for name, ratios in (("float32", spread(2.0, 1.1)), ("int8", spread(3.0, 1.2))):
        write_reports(project / "reports/tiny", name, (name, name), 4.0, 1.0)
        edit_json(project / f"reports/tiny/timing/{name}.json", calls=calls_of(ratios))
    params = load_params(settings)
    found = runtime_speedups(list(params.variants.values()), params.baseline, project / "reports/tiny")
    assert list(found) == ["int8"]
    expected = {"alone": 2.0, "ratio": 1.5, "low": 1.5 / 1.32, "high": 1.5 * 1.32}
    assert found["int8"] == {"reference": "float32", **{key: pytest.approx(value) for key, value in expected.items()}}


def test_metrics_rows_leave_out_what_was_not_measured(project: Path) -> None:
    """Protects `dvc metrics show`, which drops nulls and lists."""
    summarize.main()
    assert set(read(project / "reports/tiny/metrics/bf16.json")) == set(summarize.METRICS_KEYS)
    simulated = read(project / "reports/tiny/metrics/int8-simulated.json")
    assert set(summarize.METRICS_KEYS) - set(simulated) == {"latency_s", "speedup", "run_peak_mib"}
    assert "psnr_db" not in read(project / "reports/tiny/metrics/fp32.json")


def test_rows_for_plots_have_every_key_and_no_list_that_is_empty(project: Path) -> None:
    """Protects `dvc plots show`, which drops a file with rows of different keys or with an empty list."""
    summarize.main()
    rows = read(project / "reports/tiny/rows.json")
    assert [row["label"] for row in rows] == [
        row["label"] for row in read(project / "reports/tiny/summary.json")["variants"]
    ]
    assert {tuple(sorted(row)) for row in rows} == {tuple(sorted(summarize.METRICS_KEYS))}


def test_a_removed_variant_leaves_nothing_in_summary_and_metrics(project: Path) -> None:
    """Protects the rule that declared variants are joined, not the files that lie about."""
    summarize.main()
    params = project / "params.yaml"
    lines = params.read_text(encoding="utf-8").splitlines()
    params.write_text("\n".join(line for line in lines if "bf16" not in line), encoding="utf-8")
    summarize.main()
    summary = read(project / "reports/tiny/summary.json")
    assert [row["variant"] for row in summary["variants"]] == ["fp32", "int8-simulated"]
    assert len(summary["pairs"]) == 1
    assert sorted(path.name for path in (project / "reports/tiny/metrics").iterdir()) == [
        "fp32.json",
        "int8-simulated.json",
    ]


def leave_out(project: Path, name: str, **found: str) -> dict:
    """What the stages before summarize leave of a variant that cannot run here, or as was `found` on making it."""
    obstacle = found or {"reason": "not_installed", "packages": ["x"]}
    for kind in ("size", "timing", "quality"):
        content = {"variant": name, "label": name, "unavailable": obstacle}
        write_json(project / f"reports/tiny/{kind}/{name}.json", content)
    shutil.rmtree(project / "data/runs/tiny/images" / name)
    write_json(project / "data/runs/tiny/images" / name / "unavailable.json", content)
    return obstacle


def test_a_variant_that_cannot_run_here_is_listed_and_nothing_else(project: Path) -> None:
    """Protects the others from it: no row, no pair, no metrics, but the reason."""
    obstacle = leave_out(project, "bf16")
    edit_json(project / "reports/environment.json", obstacles={**OBSTACLES, "bf16": obstacle})
    summarize.main()
    summary = read(project / "reports/tiny/summary.json")
    assert [row["variant"] for row in summary["variants"]] == ["fp32", "int8-simulated"]
    assert summary["unavailable"] == [{"variant": "bf16", "label": "BF16", "obstacle": obstacle}]
    assert len(summary["pairs"]) == 1
    assert not (project / "reports/tiny/metrics/bf16.json").exists()


def test_a_variant_that_cannot_be_made_of_this_model_is_listed_though_the_machine_could_run_it(project: Path) -> None:
    """Protects a model that one back end cannot express from having no report."""
    obstacle = leave_out(project, "bf16", reason="not_exportable", network="Unheard", operation="aten::odd")
    summarize.main()
    unavailable = read(project / "reports/tiny/summary.json")["unavailable"]
    assert unavailable == [{"variant": "bf16", "label": "BF16", "obstacle": obstacle}]


def test_a_reason_that_no_longer_holds_stops_the_stage(project: Path) -> None:
    """Protects a variant whose package was installed from staying left out."""
    leave_out(project, "bf16")
    with pytest.raises(UserError, match="disagree on whether 'bf16' can run here: run `dvc repro quantize@bf16`"):
        summarize.main()


def test_a_rerun_gives_the_same_bytes(project: Path) -> None:
    """Protects `git diff`: threads finish in any order, the summary does not show it."""
    summarize.main()
    first = (project / "reports/tiny/summary.json").read_bytes()
    summarize.main()
    assert (project / "reports/tiny/summary.json").read_bytes() == first


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("timing/bf16.json", {"fingerprint": "ffffffffffff"}, "ffffffffffff.*dvc repro benchmark@bf16"),
        ("../environment.json", {"fingerprint": "ffffffffffff"}, "0123456789ab.*dvc repro benchmark@fp32"),
        ("timing/int8-simulated.json", {"measured": True}, "has no.*dvc repro benchmark@int8-simulated"),
        ("timing/bf16.json", {"measured": False, "reason": "x"}, "bf16.json has no timing.*benchmark@bf16"),
        ("timing/bf16.json", {"ratio": None}, "bf16.json has no ratio.*benchmark@bf16"),
        ("size/bf16.json", {"weights": "float16"}, "'float16'.*'bfloat16'.*dvc repro quantize@bf16"),
        ("size/bf16.json", {"variant": "fp16"}, "not about variant 'bf16'.*dvc repro quantize@bf16"),
        ("quality/bf16.json", {"baseline": "fp16"}, "compares with 'fp16'.*dvc repro evaluate"),
        ("pairs.json", {"pairs": []}, "not of all declared variants: run `dvc repro evaluate`"),
    ],
)
def test_stale_reports_stop_the_stage(project: Path, path: str, changes: dict, message: str) -> None:
    """Protects the summary from figures of another machine, format, baseline or set of images."""
    edit_json(project / "reports/tiny" / path, **changes)
    with pytest.raises(UserError, match=message):
        summarize.main()
    assert not (project / "reports/tiny/summary.json").exists() and not (project / "reports/tiny/metrics").exists()


@pytest.mark.parametrize(
    ("kind", "stage"), [("size", "quantize@bf16"), ("timing", "benchmark@bf16"), ("quality", "evaluate")]
)
def test_a_missing_report_names_the_command_that_makes_it(project: Path, kind: str, stage: str) -> None:
    """Protects the remedy in the message."""
    (project / f"reports/tiny/{kind}/bf16.json").unlink()
    with pytest.raises(UserError, match=f"{kind}/bf16.json is missing: run `dvc repro {stage}`"):
        summarize.main()


def test_random_weights_have_no_quality_and_everything_else(project: Path, monkeypatch, tiny_model: Path) -> None:
    """Protects the contract from generate to summarize: nothing generated, the reason kept, sizes and times joined."""
    choose_architecture(project, tiny_model)
    for name in OFFSETS:
        shutil.rmtree(project / "data/runs/tiny/images" / name)
        command = f"generate --variant {name} --model none --noise none --output data/runs/tiny/images/{name}"
        monkeypatch.setattr(sys, "argv", command.split())
        generate.main()
        assert not list((project / "data/runs/tiny/images" / name).glob("*.png"))
    evaluate_all(monkeypatch)
    for kind in ("quality", "appearance"):
        assert all(read(project / f"reports/tiny/{kind}/{name}.json")["measured"] is False for name in OFFSETS)
    command = "summarize --reports reports --images data/runs/tiny/images --output reports/tiny/summary.json"
    command += " --metrics reports/tiny/metrics --rows reports/tiny/rows.json"
    monkeypatch.setattr(sys, "argv", command.split())
    summarize.main()
    summary = read(project / "reports/tiny/summary.json")
    assert summary["pairs"] == []
    for row in summary["variants"]:
        assert (row["psnr_db"], row["ssim"], row["images"]) == (None, None, None)
        assert row["quality_reason"] == "random_weights"
    assert summary["variants"][1]["speedup"] == 2 and summary["variants"][1]["device"] == "cpu"
    assert "ssim" not in read(project / "reports/tiny/metrics/bf16.json")
