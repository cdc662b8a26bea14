"""Amdahl's law from measured parts: each case is worked out by hand."""

import pytest

from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.timing.prediction import Prediction, Run, runs, runtime_speedup
from stages.lib.timing.ratios import Ratio
from tests.timings import calls_of


def timing(rows: dict[str, list[tuple[str, str, int, float]]], baseline_s: float, speedup: float) -> dict:
    """A report of one image: rows of (operator, dtype, multiply-accumulates, seconds per call), two calls each."""
    return {
        "calls": calls_of([[speedup]], baseline_s),
        "speedup": speedup,
        **{
            key: [ExecutedWork("unet", "main", *kind, 1, count, time_s, 2).as_json() for *kind, count, time_s in items]
            for key, items in rows.items()
        },
    }


def test_two_classes_of_kernels():
    """10 s, of which convolutions 4 and linear layers 4; linear layers twice as fast: 10 / (2 + 4 + 2) = 1.25."""
    rows = {
        "baseline_executed": [("Conv2d", "float32", 8, 2.0), ("Linear", "float32", 4, 2.0)],
        "executed": [("Conv2d", "float32", 8, 2.0), ("Linear", "int8", 4, 1.0)],
    }
    prediction = Prediction(*runs(timing(rows, baseline_s=10.0, speedup=1.0)))
    assert prediction.multiplication_share == pytest.approx(0.8)
    assert prediction.predicted == pytest.approx(1.25)
    assert prediction.measured == pytest.approx(1.0) and prediction.ratio == pytest.approx(0.8)
    assert prediction.variant.rest == pytest.approx(0.4)


def test_the_same_kernels_predict_no_change():
    """Protects the unit: the drift of the machine between benchmarks is in neither run."""
    assert Prediction(Run(1.0, 0.7), Run(1.0, 0.7)).predicted == 1.0


def test_infinitely_fast_kernels_leave_the_rest():
    """Amdahl's ceiling: 1 / (1 - 0.75)."""
    assert Prediction(Run(1.0, 0.75), Run(0.3, 0.0)).predicted == pytest.approx(4)


def test_clocks_that_add_time_make_no_negative_rest():
    """Clocks around every layer may measure more than the whole: a share stays a share, kernels are compared alone."""
    prediction = Prediction(Run(1.0, 1.1), Run(0.5, 0.55))
    assert prediction.reference.rest == 0 and prediction.multiplication_share == 1
    assert prediction.predicted == pytest.approx(2)


def test_the_interval_of_a_quotient_holds_both_and_the_band():
    """Ratios of two benchmarks belong to no pairs: the bounds are over any two, and wider by the baseline's own."""
    found = runtime_speedup("fp32-x", Ratio(3.0, 2.5, 3.8, 3, 6), Ratio(2.0, 1.9, 2.5, 3, 6), (0.9, 1.1))
    assert (found.alone, found.ratio) == (2.0, 1.5)
    assert (found.low, found.high) == pytest.approx((0.9, 2.2))
