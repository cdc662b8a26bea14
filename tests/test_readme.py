"""The README tells the truth: its figures are those of the committed report, its commands and files exist."""

import json
import re
import subprocess

import pytest

from tests.conftest import PROJECT
from tools.readme import BEGIN, END, result_table, with_results

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def committed(name: str) -> str:
    """A file as HEAD has it: a user's own `make report` must not make this test fail."""
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no {name} at HEAD: this is not a clone of the project with its results")
    return done.stdout


def test_the_results_are_those_of_the_committed_report():
    """Protects the figures in the README from going stale."""
    readme, summary = committed("README.md"), json.loads(committed("reports/summary.json"))
    assert with_results(readme, summary) == readme


def test_a_figure_that_was_not_measured_is_not_invented():
    """Protects against a speed in the row of a simulated format."""
    rows = [
        {"variant": "fp32", "label": "FP32", "disk_mib": 4.0, "compression": 1.0, "latency_s": 1.0, "speedup": 1.0,
         "run_peak_mib": 500.0, "psnr_db": None, "ssim": 1.0, "identical": 3},
        {"variant": "sim", "label": "Simulated", "disk_mib": 2.0, "compression": 2.0, "latency_s": None,
         "speedup": None, "run_peak_mib": None, "psnr_db": 30.0, "ssim": 0.9, "identical": 0},
    ]  # fmt: skip
    table = result_table({"baseline": "fp32", "variants": rows}).splitlines()
    assert table[2].count("identical") == 1
    assert table[3].count("not measured") == 3


def test_every_make_target_it_names_exists():
    """Protects the commands a newcomer types."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"report", "test"} <= named <= targets


def test_every_path_it_names_exists():
    """Protects the annotated tree and the links."""
    named = set(re.findall(r"\]\(((?!https?:|#)[^)#]+)\)", README)) | set(
        re.findall(r"^([\w./-]+/?) {2,}", README, re.M)
    )
    assert named
    for path in named:
        assert (PROJECT / path).exists(), path


def test_it_has_the_markers_of_the_results():
    assert README.count(BEGIN) == README.count(END) == 1
