"""Speeds as a report states them: one latency, intervals widened by the baseline's band, ties, shares of memory."""

import numpy as np
import pytest

from stages.lib.results.speeds import Range, fastest, is_distinguishable, speedup_of, stated, widened
from stages.lib.timing.ratios import ratio_of
from tests.timings import calls_of, spread


def timing(restarts: list[list[float]], reference_s: float = 1.0, **keys) -> dict:
    return {"measured": True, "calls": calls_of(restarts, reference_s), "run_peak_mib": 600.0, **keys}


def test_every_latency_follows_from_one_pooled_latency_of_the_baseline():
    """Protects from 1.296 s in a table and 1.041 s in the text, and from costs divided one by the ratio of another."""
    timings, clock = stated({"fp32": timing(spread(1.0), 1.0), "a": timing(spread(2.0), 3.0)}, "fp32")
    assert clock.reference_s == 2.0, "the median over all its calls beside all formats"
    assert (timings["fp32"]["latency_s"], timings["a"]["latency_s"]) == (2.0, pytest.approx(1.0))
    assert timings["fp32"]["speedup"] == 1.0


def test_an_interval_is_widened_by_the_baseline_s_band():
    """Protects from 2.86x and 2.21x of one commit: the baseline itself was off by more than the intervals said."""
    timings, clock = stated({"fp32": timing(spread(0.88, 1.1)), "a": timing(spread(2.0, 1.05))}, "fp32")
    assert clock.band == pytest.approx((0.8, 1.0)) and clock.resolution == pytest.approx(0.25)
    found = speedup_of(timings["a"])
    further = 2  # of two restarts: the square root of 2 * 2 / (2 - 1)
    assert (found.low, found.high) == pytest.approx((2 / 1.05**further * 0.8, 2 * 1.05**further))


def test_two_runs_lie_in_each_other_s_intervals():
    """Protects from verdicts that a second run overturns: restarts differ by 2.5 %, pairs by 3 %, runs by 1.5 %."""
    random, held = np.random.default_rng(0), []
    for _ in range(200):
        own, other = (run(random, random.normal(0, 0.015)) for _ in range(2))
        held.append(own.low <= other.value <= own.high and other.low <= own.value <= other.high)
    assert np.mean(held) > 0.9


def run(random: np.random.Generator, drift: float) -> Range:
    """What one run states: three restarts of two pairs, beside the baseline's own."""
    own, itself = (
        ratio_of([np.exp(moved + random.normal(0, 0.025) + random.normal(0, 0.03, 2)) for _ in range(3)])
        for moved in (drift, 0)
    )
    return widened(own, itself)


@pytest.mark.parametrize(("ratio", "suspect"), [(0.88, True), (0.94, True), (0.96, False), (1.04, False), (1.06, True)])
def test_a_baseline_off_by_more_than_5_percent_is_suspect(ratio, suspect):
    _, clock = stated({"fp32": timing(spread(ratio))}, "fp32")
    assert clock.is_suspect is suspect


def test_what_lies_in_the_band_is_not_distinguishable():
    timings, _ = stated(
        {"fp32": timing(spread(1.0, 1.06)), "a": timing(spread(1.05)), "b": timing(spread(1.2))}, "fp32"
    )
    assert (is_distinguishable(timings["a"]), is_distinguishable(timings["b"])) == (False, True)


def test_the_fastest_are_all_that_overlap_the_fastest():
    ratios = {"fp32": spread(1.0), "a": spread(3.0, 1.05), "b": spread(2.9, 1.02), "c": spread(2.0, 1.1)}
    timings, _ = stated({name: timing(restarts) for name, restarts in ratios.items()}, "fp32")
    assert fastest(timings) == ["a", "b"]


def test_the_model_s_share_of_memory_leaves_the_libraries_out():
    """Protects from 609 MiB with one build of PyTorch and 968 with another, and from a limit that this decides."""
    builds = ({"run_peak_mib": 609.0, "libraries_mib": 480.0}, {"run_peak_mib": 968.0, "libraries_mib": 839.0})
    shares = {stated({"fp32": timing(spread(1.0), **keys)}, "fp32")[0]["fp32"]["model_peak_mib"] for keys in builds}
    assert shares == {129.0}


def test_a_record_without_restarts_is_one_restart():
    """Protects what other machines measured before there were any."""
    calls = [{"role": role, "latency_s": seconds} for role, seconds in (("variant", 1.0), ("baseline", 2.0)) * 2]
    timings, clock = stated({"a": {"measured": True, "calls": calls, "run_peak_mib": 500.0}}, "fp32")
    assert timings["a"]["speedup"] == pytest.approx(2.0) and timings["a"]["model_peak_mib"] == 500.0
    assert (clock.itself, clock.band, clock.interruptions_per_s) == (None, (1.0, 1.0), None)
