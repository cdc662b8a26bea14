"""The audit of the study: arithmetic that is really done, on data that a test can change."""

import json
import shutil
from pathlib import Path

import pytest

from stages.lib.study.audit import audit
from tests.conftest import PROJECT

MIB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(PROJECT / "data/study", tmp_path / "study")


def findings(folder: Path) -> dict:
    return {finding.where: finding for finding in audit(folder, str)}


def change(folder: Path, edit) -> None:
    path = folder / "printed.json"
    printed = json.loads(path.read_text(encoding="utf-8"))
    edit(printed)
    path.write_text(json.dumps(printed), encoding="utf-8")


def test_the_known_errors_of_the_study_are_found(folder):
    found = findings(folder)
    impossible = {where for where, finding in found.items() if finding.verdict == "impossible"}
    assert {
        "Table 4, U-Net in FP32",
        "Table 4, VAE in FP32",
        "Table 4, Text encoder in FP32",
        "Table 4, Safety checker in FP32",
        "Tables 4 and 5, INT8",
        "Table 5, theoretical size in FP32",
        "Table 6, GPU memory of INT8 Simulated",
    } <= impossible
    assert found["Table 10, efficiency of FP16"].verdict == "differs"
    assert found["Table 13, return of INT8 CPU"].verdict == "differs"


def test_nothing_but_arithmetic_on_sizes_is_called_impossible(folder):
    """8.2 TFLOP/s where 8.1 is a nominal peak, within 4.23 ± 0.12 s; a FID that exists: neither is impossible."""
    found = findings(folder)
    gpu = found["Table 6, time of FP32 on a Tesla T4"]
    assert gpu.verdict == found["Table 6, time of INT8 CPU on 8 cores of 2.2 GHz"].verdict == "implausible"
    assert gpu.printed == "4.23 ± 0.12 s per image" and "8.0 to 8.4 TFLOP/s" in gpu.arithmetic
    assert "nominal FP32 peak is 8.1" in gpu.arithmetic
    fid = found["Table 7, FID"]
    assert fid.verdict == "meaningless" and "the FID exists" in fid.arithmetic and "n = 3 images" in fid.arithmetic
    measured_or_counted = [where for where, finding in found.items() if finding.verdict == "impossible"]
    assert all(where.startswith(("Table 4", "Tables 4 and 5", "Table 5", "Table 6")) for where in measured_or_counted)
    assert not any("time" in where for where in measured_or_counted)


def test_the_right_numbers_of_the_study_are_not_blamed(folder):
    found = findings(folder)
    for where in ("Table 4, totals", "Table 5, overhead", "Table 6, speed-up", "Table 8, means"):
        assert found[where].verdict == "agrees"
    assert found["Table 10, efficiency of INT8 CPU"].verdict == "agrees"


def test_the_proof_of_a_size_is_parameters_times_bytes(folder):
    """859,520,964 parameters of four bytes: worked out by hand, 3278.8 MiB."""
    unet_mib = 859_520_964 * 4 / MIB
    assert unet_mib == pytest.approx(3278.8, abs=0.05)
    assert "859.52 M × 4 bytes = 3,278.8 MiB" in findings(folder)["Table 4, U-Net in FP32"].arithmetic


@pytest.mark.parametrize(
    ("where", "edit"),
    [
        ("Table 4, U-Net in FP32", lambda p: p["table_4"]["components"]["unet"].update(FP32=3278.8)),
        ("Table 5, theoretical size in FP32", lambda p: p["table_5"]["theoretical"].update(FP32=5226.9)),
        ("Table 6, time of FP32 on a Tesla T4", lambda p: p["table_6"]["FP32"].update(seconds=12.0)),
        ("Table 6, time of INT8 CPU on 8 cores of 2.2 GHz", lambda p: p["table_6"]["INT8 CPU"].update(seconds=90.0)),
        ("Table 7, FID", lambda p: p.update(images=5000)),
        ("Table 7, rating of INT8 CPU", lambda p: p["table_7"]["INT8 CPU"].update(rating="good")),
        ("Table 10, efficiency of FP16", lambda p: p["table_10"]["FP16"].update(efficiency=3.92)),
        ("Table 13, return of INT8 CPU", lambda p: p["table_13"]["INT8 CPU"].update(roi=2.0)),
        ("Table 8, mean loss from FP16 to INT8", lambda p: p["table_8"]["mean"].__setitem__(2, -8.6)),
    ],
)
def test_a_right_number_in_the_place_of_a_wrong_one_is_accepted(folder, where, edit):
    """Verdicts follow from the numbers: they are typed in nowhere."""
    assert findings(folder)[where].verdict != "agrees"
    change(folder, edit)
    assert findings(folder)[where].verdict == "agrees"


def test_a_wrong_number_in_the_place_of_a_right_one_is_found(folder):
    change(folder, lambda printed: printed["table_6"]["FP16"].update(speedup=2.5))
    assert findings(folder)["Table 6, speed-up"].verdict == "differs"
