"""Whether the speeds of a run are to be trusted, in sentences: what the baseline against itself says, and why."""

import math

from stages.lib.reporting.languages import Translate, number, percent_of
from stages.lib.reporting.numbers import figure
from stages.lib.results.records import Results
from stages.lib.results.speeds import SUSPECT, Clock


def trust(clock: Clock | None, baseline: str, _: Translate) -> str:
    """What is said of the speeds of one run; '' where the baseline, of that label, was not timed against itself."""
    if clock is None or clock.itself is None:
        return ""
    values = {
        "baseline": baseline,
        "itself": figure("speedup", clock.itself.value),
        "low": figure("speedup", clock.itself.low),
        "high": figure("speedup", clock.itself.high),
        "restarts": clock.itself.restarts,
        "limit": percent_of(SUSPECT, ".0f"),
        "resolution": percent_of(clock.resolution, ".0f" if clock.resolution >= 0.01 else ".1g"),
    }
    if clock.is_suspect:
        text = _(
            "The speeds of this run are not to be trusted. %(baseline)s, timed against itself, came out %(itself)s "
            "times as fast (95 %% interval %(low)s to %(high)s, restarts: %(restarts)d), off by more than %(limit)s."
        )
        return " ".join([text % values, *disturbances(clock, _)])
    text = _(
        "%(baseline)s, timed against itself, came out %(itself)s times as fast (95 %% interval %(low)s to %(high)s, "
        "restarts: %(restarts)d). Differences of speed below %(resolution)s cannot be told in this run."
    )
    return text % values


def disturbances(clock: Clock, _: Translate) -> list[str]:
    """What was recorded of the machine while it was timed, in sentences; none of a record without it."""
    if clock.interruptions_per_s is None:
        return []
    text = _(
        "Pairs of calls: %(pairs)d, disturbed and discarded of these: %(discarded)d; threads were interrupted "
        "%(times)s times a second (median)."
    )
    if clock.discarded == clock.pairs:
        text = _(
            "All pairs of calls (%(pairs)d) were disturbed, and are used all the same, as there are no others; threads "
            "were interrupted %(times)s times a second (median)."
        )
    values = {"pairs": clock.pairs, "discarded": clock.discarded, "times": number(clock.interruptions_per_s, ".0f")}
    found = [text % values]
    if clock.steal is not None:
        taken = _("Others took up to %(steal)s of the processors' time below the operating system (steal).")
        none = _("Others took none of the processors' time below the operating system (steal).")
        text = taken if clock.steal else none
        found.append(text % {"steal": percent_of(math.ceil(1000 * clock.steal) / 1000, ".1f")})
    if clock.mhz is not None:
        low, high = (number(value / 1000, ".2f") for value in clock.mhz)
        steady = _("The processors' clock was at %(low)s GHz.")
        moved = _("The processors' clock was at %(low)s to %(high)s GHz.")
        found.append((steady if low == high else moved) % {"low": low, "high": high})
    return found


def imprecise(results: Results, _: Translate) -> str:
    """Of how many formats the interval did not get as narrow as it was to; '' if of none."""
    timed = [result.timing for result in results.variants if result.timed]
    wide = [timing for timing in timed if not timing.get("precise", True)]
    if not wide:
        return ""
    text = _(
        "For %(wide)d of %(timed)d formats the interval did not get as narrow as asked within the time limit of "
        "%(limit)s s."
    )
    return text % {"wide": len(wide), "timed": len(timed), "limit": number(wide[0]["limit_s"], ".0f")}
