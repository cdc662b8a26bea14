"""How sure is an average, and what does it hide? Bootstrap intervals over prompts, the worst images, tests, shares.

All of it is over images: an image is one generate of a prompt and its noise, and images of one prompt are paired.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
EQUIVALENCE_CONFIDENCE = 0.90  # two one-sided tests at 5 % are one 90 % interval
FEWEST = 3  # of fewer images no spread can be told
# Of fewer images no share can be told: where damage is as uneven as here (log-normal, sigma 1.2), a 95 % interval of a
# ratio of sums holds the true one in 79 % of samples of 4, in 90 % of samples of 12.
FEWEST_FOR_SHARES = 12
TAIL = 5  # percent
Verdict = Literal["equal", "higher", "lower", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A mean over n values with its 95 % interval; `low` and `high` are None of fewer than FEWEST values."""

    mean: float
    low: float | None
    high: float | None
    n: int


def resampling_counts(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of n values is drawn in each resample of n: (resamples, n), rows that add up to n."""
    generated = np.random.default_rng(seed).integers(0, n, (resamples, n))
    counts = np.zeros((resamples, n))
    np.add.at(counts, (np.arange(resamples)[:, None], generated), 1)
    return counts


def bootstrap_means(rows: np.ndarray, counts: np.ndarray, confidence: float) -> np.ndarray:
    """BCa intervals (m, 2) of the means of m rows (m, n), which share the resamples `counts` (resamples, n).

    Bias-corrected and accelerated: Efron, "Better bootstrap confidence intervals", JASA 82, 1987. A row whose values
    are all equal has an interval of no width.
    """
    rows = np.asarray(rows, np.float64)
    n, normal = rows.shape[1], NormalDist()
    means = np.sort(counts @ rows.T / n, axis=0)
    observed = rows.mean(axis=1)
    found = np.repeat(observed[:, None], 2, axis=1)
    for number in np.flatnonzero(np.ptp(rows, axis=1) > 0):
        ordered = means[:, number]
        tie = 1e-12 * np.abs(rows[number]).max()  # of few values many resamples have the mean itself, but for rounding
        below = np.searchsorted(ordered, observed[number] - tie) + np.searchsorted(ordered, observed[number] + tie)
        share = np.clip(below / (2 * len(ordered)), 0.5 / len(ordered), 1 - 0.5 / len(ordered))
        bias = normal.inv_cdf(share)
        spread = rows[number] - observed[number]
        acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
        for side, tail in enumerate(((1 - confidence) / 2, (1 + confidence) / 2)):
            z = bias + normal.inv_cdf(tail)
            found[number, side] = np.quantile(ordered, normal.cdf(bias + z / (1 - acceleration * z)))
    return found


def student_p(values: np.ndarray, null: float) -> float:
    """Two-sided p of the mean of values (n,), two at least, being `null`, by Student's t: the far tails that a
    correction for many tests needs are beyond what resamples can tell. Equal values have 1 or 0."""
    from scipy.special import stdtr

    values = np.asarray(values, np.float64)
    distance, error = abs(values.mean() - null), values.std(ddof=1) / len(values) ** 0.5
    if error == 0:
        return float(distance == 0)
    return float(2 * stdtr(len(values) - 1, -distance / error))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: below 5 %, at most 5 % of such families have a single false one.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class Tail:
    """What a mean hides: the worst of n values and whose it is, and the value that 5 % of the images do not better."""

    worst: float
    worst_id: str
    percentile_5: float


def tail_of(values: dict[str, float], higher_is_better: bool) -> Tail:
    """Of values by image, one at least. Of 20 images or fewer the 5 % are the worst one."""
    ordered = sorted(values, key=values.__getitem__, reverse=not higher_is_better)
    place = -(-TAIL * len(ordered) // 100) - 1
    return Tail(values[ordered[0]], ordered[0], values[ordered[place]])


@dataclass(frozen=True)
class Share:
    """A part of a whole over n images, the sum of parts over the sum of wholes, with its 95 % interval.

    `tells`: n is at least FEWEST_FOR_SHARES; of fewer, share and interval describe these images alone.
    """

    share: float
    low: float | None
    high: float | None
    n: int
    tells: bool


def shares_of_sums(parts: np.ndarray, wholes: np.ndarray, resamples: int, seed: int) -> list[Share]:
    """Of parts (m, n) and wholes (n,) over the same n images, whose sum must not be 0: one share a row.

    The interval is the percentile bootstrap's over images, which held the true share more often than BCa did.
    """
    parts, wholes = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    n = len(wholes)
    shares = (parts.sum(axis=1) / wholes.sum()).tolist()
    if n < FEWEST:
        return [Share(share, None, None, n, tells=False) for share in shares]
    totals = (counts := resampling_counts(n, resamples, seed)) @ wholes
    drawn = (counts @ parts.T)[totals > 0] / totals[totals > 0, None]
    bounds = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), axis=0).T.tolist()
    return [Share(share, *span, n, n >= FEWEST_FOR_SHARES) for share, span in zip(shares, bounds, strict=True)]


def lead(parts: np.ndarray, resamples: int, seed: int) -> tuple[int, float]:
    """The row of parts (m, n) with the largest sum over n images, and in which share of resamples it stays that."""
    parts = np.asarray(parts, np.float64)
    first = int(parts.sum(axis=1).argmax())
    drawn = resampling_counts(parts.shape[1], resamples, seed) @ parts.T
    return first, float((drawn.argmax(axis=1) == first).mean())


def intervals(samples: dict[str, Sequence[float]], resamples: int, seed: int) -> dict[str, dict]:
    """By key: mean, 95 % bootstrap interval and n of each list of values; a key without values is left out."""
    found, lengths = {}, sorted({len(values) for values in samples.values() if len(values)})
    for n in lengths:
        keys = [key for key, values in samples.items() if len(values) == n]
        rows = np.array([samples[key] for key in keys], np.float64)
        bounds: list = [(None, None)] * len(keys)
        if n >= FEWEST:
            bounds = bootstrap_means(rows, resampling_counts(n, resamples, seed), CONFIDENCE).tolist()
        for key, mean, (low, high) in zip(keys, rows.mean(axis=1).tolist(), bounds, strict=True):
            found[key] = asdict(Interval(mean, low, high, n))
    return found


@dataclass(frozen=True)
class Comparison:
    """The mean paired difference, its 95 % and 90 % intervals (None of fewer than FEWEST pairs), and what follows.

    `equal`: the 90 % interval lies within `margin` on both sides of zero, which is two one-sided tests at 5 %
    (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987). `higher`, `lower`: not so, and the 95 % interval excludes zero.
    Else `undecided`: a difference beyond the margin was neither shown nor ruled out.
    """

    mean: float
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    margin: float
    n: int
    verdict: Verdict


def verdict(bounds_95: tuple[float, float], bounds_90: tuple[float, float], margin: float) -> Verdict:
    """What two intervals (low, high) of a difference say, as Comparison explains."""
    if -margin < bounds_90[0] and bounds_90[1] < margin:
        return "equal"
    if bounds_95[0] > 0:
        return "higher"
    return "lower" if bounds_95[1] < 0 else "undecided"


def compare_paired(differences: np.ndarray, margin: float, resamples: int, seed: int) -> list[Comparison]:
    """One comparison per row of differences (m, n), over the same n images."""
    differences = np.asarray(differences, np.float64)
    n = differences.shape[1]
    means = differences.mean(axis=1).tolist()
    if n < FEWEST:
        return [Comparison(mean, None, None, None, None, margin, n, "undecided") for mean in means]
    counts = resampling_counts(n, resamples, seed)
    wide = bootstrap_means(differences, counts, CONFIDENCE).tolist()
    narrow = bootstrap_means(differences, counts, EQUIVALENCE_CONFIDENCE).tolist()
    return [
        Comparison(mean, *outer, *inner, margin, n, verdict(outer, inner, margin))
        for mean, outer, inner in zip(means, wide, narrow, strict=True)
    ]
