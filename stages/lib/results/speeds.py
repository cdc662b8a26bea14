"""Speeds as a report states them: of every format its ratio to the baseline, and the latency that follows from it.

The latency of a format is that of the baseline, pooled over all its calls beside all formats, divided by the format's
ratio: the machine drifts between two formats, not between two calls in turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Any

from stages.lib.timing.ratios import Ratio, paired_ratios, ratio_of_calls

SUSPECT = 0.05  # off by more against itself, the baseline says that no speed of the run is to be trusted


@dataclass(frozen=True)
class Range:
    """A value and the range that it may lie in; `low` and `high` are the value itself where no spread is known."""

    value: float
    low: float
    high: float

    def overlaps(self, other: "Range") -> bool:
        """Whether the two ranges have a point in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Clock:
    """How far the speeds of one run on one machine can be trusted.

    `reference_s`: the pooled latency of the baseline. `itself`: its ratio to itself, None where that was not timed.
    Of all calls: how many pairs there are and were discarded, the most steal (0 to 1) and the median of interruptions
    per second, the lowest and highest clock in MHz; None where it was not recorded.
    """

    reference_s: float
    itself: Ratio | None
    pairs: int
    discarded: int
    steal: float | None
    interruptions_per_s: float | None
    mhz: tuple[float, float] | None

    @property
    def band(self) -> tuple[float, float]:
        """The least and the greatest ratio of the baseline to itself: what lies inside is no difference."""
        return band_of(self.itself)

    @property
    def resolution(self) -> float:
        """The smallest difference of speed that this run can tell, as a share."""
        low, high = self.band
        return max(high, 1 / low) - 1

    @property
    def is_suspect(self) -> bool:
        """Whether the baseline against itself is off by more than SUSPECT."""
        return self.itself is not None and max(self.itself.value, 1 / self.itself.value) - 1 > SUSPECT


def stated(timings: Mapping[str, Mapping[str, Any]], baseline: str) -> tuple[dict[str, dict[str, Any]], Clock | None]:
    """The timings of one run by variant, with what a report states of them, and its clock; None if nothing was timed.

    Added: `speedup`, its 95 % interval `speedup_low` to `speedup_high` as `widened` gives it, the same of `latency_s`,
    and `model_peak_mib`, the peak in inference without what the libraries take. `trusted`: whether the baseline against
    itself lets the speeds of this run say anything.
    """
    timed = {name: timing for name, timing in timings.items() if timing["measured"]}
    if not timed:
        return dict(timings), None
    clock = _clock(timed, baseline)
    return {name: {**timing, **_stated(timing, name == baseline, clock)} for name, timing in timings.items()}, clock


def band_of(itself: Ratio | None) -> tuple[float, float]:
    """From 1 to the ends of the interval of the baseline's ratio to itself; nothing but 1 where it was not timed."""
    return (min(1.0, itself.low), max(1.0, itself.high)) if itself else (1.0, 1.0)


def widened(ratio: Ratio, itself: Ratio | None) -> Range:
    """A ratio, and the 95 % interval that another run's ratio of the same two lies in as well, not only the true one.

    The bootstrap's interval is of the true ratio, and too narrow of k restarts by the square root of k / (k - 1). The
    difference of two runs varies by the square root of 2 more than one of them does. Both widen it, in logarithms, and
    then the band of the baseline against itself.
    """
    k = ratio.restarts
    further = sqrt(2 * k / (k - 1)) if k > 1 else sqrt(2)  # one restart says nothing of others
    low, high = band_of(itself)
    return Range(
        ratio.value,
        ratio.value * (ratio.low / ratio.value) ** further * low,
        ratio.value * (ratio.high / ratio.value) ** further * high,
    )


def _stated(timing: Mapping[str, Any], is_baseline: bool, clock: Clock) -> dict[str, Any]:
    if not timing["measured"]:
        return {}
    speedup = Range(1.0, 1.0, 1.0) if is_baseline else widened(own_ratio(timing), clock.itself)
    return {
        "speedup": speedup.value,
        "speedup_low": speedup.low,
        "speedup_high": speedup.high,
        "latency_s": clock.reference_s / speedup.value,
        "latency_s_low": clock.reference_s / speedup.high,
        "latency_s_high": clock.reference_s / speedup.low,
        "model_peak_mib": timing["run_peak_mib"] - timing.get("libraries_mib", 0.0),
        "trusted": not clock.is_suspect,
    }


def own_ratio(timing: Mapping[str, Any]) -> Ratio:
    """The ratio of one file of reports/M/timing, not widened."""
    return ratio_of_calls(timing["calls"])


def speedup_of(timing: Mapping[str, Any]) -> Range:
    """The speed-up of a stated timing."""
    return Range(timing["speedup"], timing["speedup_low"], timing["speedup_high"])


def fastest(timings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names of stated timings: the one with the greatest speed-up, and those that cannot be told from it."""
    order = sorted(timings, key=lambda name: -timings[name]["speedup"])
    best = speedup_of(timings[order[0]])
    return [name for name in order if speedup_of(timings[name]).overlaps(best)]


def is_distinguishable(timing: Mapping[str, Any]) -> bool:
    """Whether a stated timing can be told from the baseline's."""
    return not timing["speedup_low"] <= 1 <= timing["speedup_high"]


def _clock(timed: Mapping[str, Mapping[str, Any]], baseline: str) -> Clock:
    calls = [call for timing in timed.values() for call in timing["calls"]]
    recorded = {
        key: [call[key] for call in calls if call.get(key) is not None]
        for key in ("steal", "interruptions_per_s", "mhz")
    }
    kept = sum(len(pairs) for timing in timed.values() for pairs in paired_ratios(timing["calls"]))
    return Clock(
        reference_s=median(call["latency_s"] for call in calls if call["role"] == "baseline"),
        itself=own_ratio(timed[baseline]) if baseline in timed else None,
        pairs=len(calls) // 2,
        discarded=len(calls) // 2 - kept,
        steal=max(recorded["steal"], default=None),
        interruptions_per_s=median(recorded["interruptions_per_s"]) if recorded["interruptions_per_s"] else None,
        mhz=(min(recorded["mhz"]), max(recorded["mhz"])) if recorded["mhz"] else None,
    )
