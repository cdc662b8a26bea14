"""Which variants nobody need choose: those that another one beats in quality and in what they cost.

One point dominates another if it is at least as good in both and better in one (V. Pareto, Manuale di economia
politica, 1906). What nothing dominates is the front.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range


@dataclass(frozen=True)
class Point:
    """A variant by its quality, where more is better, and its cost, where less is."""

    name: str
    quality: float
    cost: float


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is at least as good and as cheap as `other`, and better in one of the two."""
    no_worse = one.quality >= other.quality and one.cost <= other.cost
    return no_worse and (one.quality > other.quality or one.cost < other.cost)


def front(points: Iterable[Point]) -> list[Point]:
    """The points that no other one dominates, the cheapest first."""
    points = list(points)
    kept = [point for point in points if not any(dominates(other, point) for other in points)]
    return sorted(kept, key=lambda point: (point.cost, point.name))


def dominator(point: Point, points: Iterable[Point]) -> Point | None:
    """Of the front's points that dominate `point`, the one of the highest quality; None if it is on the front."""
    found = [other for other in front(points) if dominates(other, point)]
    return max(found, key=lambda other: (other.quality, -other.cost), default=None)


@dataclass(frozen=True)
class Standing:
    """Where a variant stands against one cost: on the front (`by` is None), or dominated by the variant named `by`.

    `sure` says whether the measured spreads leave the dominance no doubt.
    """

    cost: float
    by: str | None
    sure: bool


COSTS = ("disk_mib", "time_s", "peak_mib")


def cost_of(item: Candidate, cost: str) -> Range | None:
    """One of COSTS with its range; what was measured once is a point."""
    value = getattr(item, cost)
    return value if value is None or isinstance(value, Range) else Range(value, value, value)


def standings(candidates: Sequence[Candidate], cost: str, comparisons: Sequence[dict[str, Any]]) -> dict[str, Standing]:
    """By name, every candidate that has a mean SSIM and the cost `cost`, one of COSTS.

    `comparisons` are the paired ones of reports/M/summary.json. A simulated variant has a size and nothing else.
    """
    if cost not in COSTS:
        raise ValueError(f"cost '{cost}' is unknown: use one of {', '.join(COSTS)}")
    spans = {item.name: cost_of(item, cost) for item in candidates if item.ssim is not None}
    trusted = cost != "time_s" or all(item.trusted for item in candidates)
    points = [
        Point(item.name, item.ssim.value, spans[item.name].value)
        for item in candidates
        if item.ssim is not None and spans[item.name] is not None
    ]
    found = {}
    for point in points:
        best = dominator(point, points)
        sure = best is None or (
            _surely_as_good(best.name, point.name, comparisons)
            and trusted
            and (best.cost == point.cost or not spans[best.name].overlaps(spans[point.name]))
        )
        found[point.name] = Standing(point.cost, best and best.name, sure)
    return found


def _surely_as_good(one: str, other: str, comparisons: Sequence[dict[str, Any]]) -> bool:
    """Whether the 95 % interval of the paired difference in SSIM, `one` minus `other`, has nothing below zero."""
    for entry in comparisons:
        if {entry["reference"], entry["variant"]} == {one, other} and entry["ssim"]:
            low, high = entry["ssim"]["low"], entry["ssim"]["high"]
            if low is None:
                return False
            return low >= 0 if entry["variant"] == one else high <= 0
    return False
