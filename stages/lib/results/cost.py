"""What an image costs, given an assumed price of an hour and the share of the paid hours that is spent generation.

Making a variant is charged once, at the full price of the time it takes; generation at the price of the hours that have
to be paid for it. Every cost is proportional to the price.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range

CONFIDENCE = 0.95
THOUSAND = 1000


def cost_of_generating(time_s: float, price_per_hour: float, utilisation: float) -> float:
    """The cost of an image that takes `time_s`, in the price's currency; `utilisation` is more than 0, up to 1."""
    return time_s / 3600 * price_per_hour / utilisation


def acceptable_share(ssims: Sequence[float], floor: float) -> Range:
    """The share of images whose SSIM reaches `floor`, with its 95 % interval by Wilson's score.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    n = len(ssims)
    if not n:
        raise ValueError("a share needs at least one image")
    share = sum(value >= floor for value in ssims) / n
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Range(share, max(0.0, middle - half), min(1.0, middle + half))


def cost_of_acceptable(cost: float, share: float) -> float | None:
    """The cost per image that may be used, if the others are thrown away and generated anew; None if none may be."""
    return cost / share if share > 0 else None


def break_even_images(extra_making_s: float, saved_s: float, utilisation: float) -> float | None:
    """After how many images the time that making took longer is paid back; None if no image saves time.

    Price cancels out. `utilisation` does not: an hour of generation has to be paid 1 / utilisation times.
    """
    if extra_making_s <= 0:
        return 0.0 if saved_s >= 0 else None
    return extra_making_s * utilisation / saved_s if saved_s > 0 else None


@dataclass(frozen=True)
class CostRow:
    """One variant's costs. All but `candidate` are None where it was not timed, the last two without images.

    Costs are of a thousand images. `break_even` is a count of images; None if it never comes, and for the baseline.
    """

    candidate: Candidate
    thousand: Range | None
    break_even: float | None
    share: Range | None
    acceptable: float | None


def cost_row(item: Candidate, baseline: Candidate, price_per_hour: float, utilisation: float, floor: float) -> CostRow:
    """The costs of one variant against the baseline; `floor` is the SSIM from which an image is acceptable."""
    if item.time_s is None:
        return CostRow(item, None, None, None, None)
    times = (item.time_s.value, item.time_s.low, item.time_s.high)
    thousand = Range(*(THOUSAND * cost_of_generating(time_s, price_per_hour, utilisation) for time_s in times))
    share = acceptable_share(item.ssims, floor) if item.ssims else None
    saved_s = baseline.time_s.value - item.time_s.value
    break_even = break_even_images(item.making_s - baseline.making_s, saved_s, utilisation)
    return CostRow(
        candidate=item,
        thousand=thousand,
        break_even=None if item.is_baseline else break_even,
        share=share,
        acceptable=cost_of_acceptable(thousand.value, share.value) if share else None,
    )


def digits_of(costs: Sequence[float]) -> int:
    """So many decimals that the smallest of `costs` still shows three digits; two at least, six at most."""
    least = min((cost for cost in costs if cost > 0), default=1.0)
    return min(6, max(2, 2 - math.floor(math.log10(least))))
