"""How many times as fast: a ratio of latencies over restarts of both processes, and how far chance moves it.

A process that starts anew has its memory elsewhere and is faster or slower for as long as it lives, by more than its
single calls differ. So restarts are the samples, and calls are samples within them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """The reference's latency over the format's: geometric mean over restarts, and its 95 % interval."""

    value: float
    low: float
    high: float
    restarts: int
    pairs: int

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the value."""
        return (self.high - self.low) / 2 / self.value


def paired_ratios(calls: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """By restart: the reference's latency over the format's, of every two calls in turn that were not discarded.

    `calls` are those of reports/M/timing/V.json, in the order they ran; without restarts in them, they are one.
    """
    found: dict[int, list[float]] = {}
    for first, second in zip(calls[::2], calls[1::2], strict=True):
        if not (first.get("discarded") or second.get("discarded")):
            own, reference = (first, second) if first["role"] == "variant" else (second, first)
            found.setdefault(first.get("restart", 0), []).append(reference["latency_s"] / own["latency_s"])
    return list(found.values())


def ratio_of_calls(calls: Sequence[Mapping[str, Any]]) -> Ratio:
    """The ratio of the pairs of `calls` that were not discarded; of all, where only one of several restarts is left."""
    kept, everything = paired_ratios(calls), paired_ratios([{**call, "discarded": False} for call in calls])
    return ratio_of(kept if len(kept) >= min(2, len(everything)) else everything)


def ratio_of(restarts: Sequence[Sequence[float]], seed: int = 0) -> Ratio:
    """The ratio of `restarts`, lists of paired ratios, one at least: bootstrap over restarts and over pairs in each.

    Percentiles of log ratios, which are too narrow of so few: in a simulation where restarts differ by 4 % and pairs by
    3 %, those of three restarts of two pairs held the true ratio in 83 % of runs, and widened by the band of the
    reference against itself, as every reader of them does, in 96 %.
    """
    logs = [np.log(ratios) for ratios in restarts]
    generator = np.random.default_rng(seed)
    means = np.empty((len(logs), RESAMPLES, len(logs)))
    for place, pairs in enumerate(logs):
        drawn = generator.integers(0, len(pairs), (RESAMPLES, len(logs), len(pairs)))
        means[place] = pairs[drawn].mean(axis=2)
    chosen = generator.integers(0, len(logs), (RESAMPLES, len(logs)))
    resampled = np.take_along_axis(means, chosen[None], axis=0)[0].mean(axis=1)
    low, high = np.quantile(resampled, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    value = np.mean([pairs.mean() for pairs in logs])
    return Ratio(*np.exp([value, low, high]).tolist(), len(logs), sum(len(pairs) for pairs in logs))
