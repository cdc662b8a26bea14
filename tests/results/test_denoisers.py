"""Timings of large denoisers: read with their digest, and shown as a table, a chart and the reasons of slow rows."""

import json
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.results.denoisers import _row, load_denoisers, time_shares
from stages.lib.results.evidence import seal
from stages.report import other_machines
from tests.conftest import PROJECT
from tests.pages import rendered
from tests.results_folder import write_machine, write_project

VARIANTS = {"fp32": {"label": "FP32", "backend": "torch", "weights": "float32"}}
OTHER = "ffffffffffff"


def row(name: str, activations: str, speedup: float, batch: int = 1, **more: object) -> dict:
    found = {
        "model": "big", "model_label": "Big one", "batch": batch, "format": name, "control": "bf16", "commit": "abc",
        "variant": {"label": name.upper(), "backend": "torchao", "activations": activations}, "settings": {},
        "parameters": 10**9, "size_mib": 1000.0, "latency_ms": 50 / speedup, "eager_ms": 100.0, "peak_mib": 1200.0,
        "compile_s": 20.0, "control_ms": 50.0, "speedup": speedup, "speedups": [speedup - 0.01, speedup + 0.01],
        "products": {"count": 5, "gmac": 20.0, "typical_gmac": 4.0 * batch}, "error": 0.01, "converted_layers": 5,
    }  # fmt: skip
    return found | more


ROWS = [
    row("fp8", "float8", 1.31, parameters=2 * 10**9),  # as one with fused projections besides the others
    row("bf16", "none", 1.0),
    row(
        "int8",
        "int8",
        0.5,
        kernels_ms={"": 10.0, "cutlass::gemm_s8": 6.0, "triton_red_fused_amax": 3.0, "strange": 1.0},
    ),
    row("fp8", "float8", 1.4, batch=8),
    {key: value for key, value in row("nf4", "none", 1).items() if key in list(row("x", "", 1))[:8]}
    | {"failure": "no room"},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path, VARIANTS)
    write_machine(tmp_path, OTHER, VARIANTS, "aaaaaaaaaaaa")
    content = {"rows": ROWS}
    path = tmp_path / "reports/machines" / OTHER / "denoisers.json"
    path.write_text(json.dumps({**content, "sha256": seal(content)}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def test_rows_are_of_their_model_with_the_control_first(project: Path):
    """Protects the table's order, and the ratio's meaning."""
    found = load_denoisers(project.parent, "bring it again")
    assert [(item.label, item.batch) for item in found] == [
        ("BF16", 1),
        ("FP8", 1),
        ("INT8", 1),
        ("NF4", 1),
        ("FP8", 8),
    ]
    assert found[0].is_control and not found[1].is_control
    assert found[3].failure == "no room"
    assert load_denoisers(project.parents[3], "bring it again") == ()


@pytest.mark.parametrize("change", [{"rows": ROWS[:2]}, {"sha256": None}])
def test_edited_rows_are_refused(project: Path, change: dict):
    """Protects figures that nobody here can measure again."""
    project.write_text(json.dumps(json.loads(project.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(UserError, match="denoisers.json was edited"):
        load_denoisers(project.parent, "bring it again")


def test_shares_of_the_time_add_up():
    """Protects the reason that is given for a slow row: without a pattern it is other, without a kernel waiting."""
    shares = time_shares(ROWS[2]["kernels_ms"], 20.0)
    assert shares == {name: pytest.approx(share) for name, share in
                      {"waiting": 0.5, "products": 0.3, "rounding": 0.15, "other": 0.05}.items()}  # fmt: skip


def test_a_format_that_compiling_slows_down_is_stated_without():
    """Protects formats from settings that do not suit them."""
    found = _row(row("nf4", "none", 0.4, latency_ms=125.0, eager_ms=80.0))
    assert found.speedup == 50 / 80 and found.speedups == ()


def test_the_report_has_a_table_the_reason_and_a_chart(project: Path):
    """Protects the chapter on other machines, in both languages."""
    page = rendered().replace("\u00a0", " ").replace("\u202f", " ")
    assert "Big one, 1,000.00 million parameters, batch 1" in page
    assert "1.31×" in page and "1.30–1.32" in page
    assert "Where the time of slow formats goes" in page and "Big one, INT8 (batch 1, 100.0 ms): the GPU waits" in page
    assert "no room" in page
    assert "Big one, batch 8, FP8: 1.40×" in page


def test_a_machine_that_timed_nothing_but_denoisers_is_in_the_report(project):
    (project.parent / "asked.json").write_text('{"models": {}, "failed": {}}', encoding="utf-8")
    (machine,) = other_machines(project.parents[2], "000000000000", "embedded")
    assert machine.models == () and machine.tables == 1


def test_committed_rows_are_whole_and_each_slow_one_says_where_its_time_goes():
    """Protects a table with holes, and a format slower than compiled 16 bits without a measured reason."""
    folders = [path.parent for path in (PROJECT / "reports/machines").glob("*/denoisers.json")]
    for row in (row for folder in folders for row in load_denoisers(folder, "bring it again")):
        if not row.failure:
            assert min(row.parameters, row.size_mib, row.latency_ms, row.peak_mib, row.speedup) > 0, row
            assert row.compile_s is None or row.compile_s > 0, row
            assert row.is_control or row.speedup >= 0.9 or sum(row.shares.values()) > 0.9, row
