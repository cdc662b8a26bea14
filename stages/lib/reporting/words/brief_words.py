"""The brief in sentences of at most 30 words: what is recommended, what is the alternative, what would change that."""

import math
from collections.abc import Sequence

from stages.lib.quality.statistics import FEWEST
from stages.lib.reporting.languages import Translate, list_of, number
from stages.lib.reporting.numbers import figure, figures
from stages.lib.reporting.recommendations import Advice
from stages.lib.reporting.words.scenario_words import shown
from stages.lib.results.candidates import FEWEST_RESTARTS, RUNTIME_MIB, Candidate
from stages.lib.results.scenarios import Change, Decision, supported

AIMS = ("time_s", "disk_mib", "peak_mib")
MORE_MEMORY = 1.1  # times the baseline's, from which on it is told
NAMED = 3  # formats, of many that meet the threshold


def recommended(main: Advice, chosen: Candidate | None, baseline: Candidate, _: Translate) -> list[str]:
    """The format that is supported at 95 %, and by what; or why there is none."""
    values = {"scenario": main.label, "asked": ", ".join(main.asked), "baseline": baseline.label}
    if chosen is None and main.unanswered:
        text = _("No format of this machine may be recommended for: %(scenario)s (%(asked)s).")
        return [text % values, main.unanswered]
    if chosen is None:
        text = _("Nothing is supported at 95 %%, for: %(scenario)s (%(asked)s).")
        return [text % values, *_nothing_better(main.decision, baseline, _)]
    if chosen.is_baseline:
        text = _("Stay with %(baseline)s, for: %(scenario)s (%(asked)s).")
        return [text % values, *_nothing_better(main.decision, baseline, _)]
    values |= {"label": chosen.label, "floor": figure("ssim", main.decision.scenario.ssim_threshold)}
    values |= figures("ssim", low=chosen.ssim.low, high=chosen.ssim.high)
    quality = _("Supported at 95 %%: all of the interval of its mean SSIM, %(low)s to %(high)s, meets %(floor)s.")
    return [
        _("%(label)s, for: %(scenario)s (%(asked)s).") % values,
        quality % values,
        _advantage(main.decision.scenario.minimise, chosen, baseline, _),
        *_memory(main.decision.scenario.minimise, chosen, baseline, _),
    ]


def _nothing_better(decision: Decision, baseline: Candidate, _: Translate) -> list[str]:
    """Why no other format is supported: there is none, no speed is trusted, or one of the two is not supported."""
    cost, floor = decision.scenario.minimise, decision.scenario.ssim_threshold
    others = [item for item in decision.eligible if not item.is_baseline]
    values = {"baseline": baseline.label, "floor": figure("ssim", floor)}
    if not others:
        return [_("There is no other format that may be recommended.")]
    meets = [item.label for item in others if item.surely_meets(floor)]
    if decision.trusted and meets:
        text = {
            "time_s": _("Of those that surely meet the threshold, none is faster than %(baseline)s at 95 %%."),
            "disk_mib": _("Of those that surely meet the threshold, none is smaller than %(baseline)s."),
            "peak_mib": _("Of those that surely meet the threshold, none needs less memory than %(baseline)s."),
        }[cost]
        return [text % values]
    no_quality = _("Of no other that may be recommended is it supported at 95 %% that it meets %(floor)s.") % values
    if decision.trusted:
        return [no_quality]
    text = _("Whether another format is faster is not known: no speed of this run is to be trusted.")
    if not meets:
        return [text, no_quality]
    labels = meets if len(meets) <= NAMED else [*meets[:NAMED], _("%(count)d more") % {"count": len(meets) - NAMED}]
    again = _("An SSIM of %(floor)s or more is supported at 95 %% for %(labels)s; a quieter machine can tell how fast.")
    return [text, again % (values | {"labels": list_of(labels)})]


def _advantage(cost: str, chosen: Candidate, baseline: Candidate, _: Translate) -> str:
    values = {"baseline": baseline.label}
    if cost == "time_s":
        speedup = chosen.speedup
        values |= figures("speedup", value=speedup.value, low=speedup.low, high=speedup.high)
        return (
            _("Supported, too: it is %(value)s times as fast as %(baseline)s, interval %(low)s to %(high)s.") % values
        )
    if cost == "disk_mib":
        values |= figures("disk_mib", own=chosen.disk_mib, reference=baseline.disk_mib)
        return _("It takes %(own)s MiB on disk against %(reference)s MiB of %(baseline)s; sizes are exact.") % values
    values |= figures("run_peak_mib", own=chosen.peak_mib, reference=baseline.peak_mib)
    return _("Its peak is %(own)s MiB against %(reference)s MiB of %(baseline)s, in one process each.") % values


def _memory(cost: str, chosen: Candidate, baseline: Candidate, _: Translate) -> list[str]:
    """That it needs more memory than the baseline, where it does: what a model takes beyond its process."""
    if cost == "peak_mib" or chosen.peak_mib is None or baseline.peak_mib is None:
        return []
    own, reference = (item.peak_mib - RUNTIME_MIB for item in (chosen, baseline))
    if reference <= 0 or own < MORE_MEMORY * reference:
        return []
    values = {"times": number(own / reference, ".1f"), "baseline": baseline.label}
    values |= figures("run_peak_mib", own=own, reference=reference)
    text = _("But it needs %(times)s times the memory of %(baseline)s: %(own)s MiB against %(reference)s MiB.")
    return [text % values]


def alternative_words(
    main: Advice, item: Candidate | None, chosen: Candidate | None, baseline: Candidate, _: Translate
) -> list[str]:
    """The alternative with what is not known of it."""
    if item is None:
        return [_("None: no other format that keeps the limits may do better here.")]
    scenario = main.decision.scenario
    aims = dict(zip(AIMS, (_("speed-up"), _("size on disk"), _("peak memory")), strict=True))
    values = {"label": item.label, "aim": aims[scenario.minimise], "shown": shown(scenario, item)}
    values |= figures("ssim", ssim=item.ssim.value, worst=min(item.ssims))
    opening = _("%(label)s: %(aim)s %(shown)s, mean SSIM %(ssim)s, worst image %(worst)s.") % values
    found = [opening, *_unknown_quality(item, scenario.ssim_threshold, _)]
    if scenario.minimise == "time_s":
        found += _unknown_speed(item, chosen, baseline, _)
    return found


def _unknown_quality(item: Candidate, floor: float, _: Translate) -> list[str]:
    values = figures("ssim", floor=floor, low=item.ssim.low, high=item.ssim.high)
    if item.surely_meets(floor):
        return []
    if item.few_images and item.ssim.low >= floor:
        text = _("Not known: whether it meets the threshold of %(floor)s with other prompts; n = %(n)d are too few.")
        return [text % {**values, "n": len(item.ssims)}]
    if not item.has_interval:
        text = _(
            "Not known: whether it meets the threshold of %(floor)s; fewer than %(fewest)d images have no interval."
        )
        return [text % {**values, "fewest": FEWEST}]
    if item.ssim.value >= floor:
        text = _("Not known: whether it meets the threshold of %(floor)s; the interval of its SSIM begins at %(low)s.")
    elif item.ssim.high >= floor:
        text = _("On average it misses the threshold of %(floor)s; not known: whether with other prompts, too.")
    else:
        text = _("It misses the threshold of %(floor)s; not known: whether its images will do for you.")
    return [text % values]


def _unknown_speed(item: Candidate, chosen: Candidate | None, baseline: Candidate, _: Translate) -> list[str]:
    if not item.trusted:
        return [_("Not known: how fast it is, for the speeds of this run are not to be trusted.")]
    if item.restarts < FEWEST_RESTARTS:
        return [_("Not known: how fast it is after another start, for its processes were started once.")]
    rivals = [other for other in (chosen, baseline) if other and other is not item and other.time_s]
    text = _("Not known: whether it is faster than %(label)s, for the intervals of their times overlap.")
    names = dict.fromkeys(other.label for other in rivals if item.time_s.overlaps(other.time_s))
    return [text % {"label": name} for name in names]


def changes(
    main: Advice, found: Sequence[Change], item: Candidate | None, baseline: Candidate, _: Translate
) -> list[str]:
    """What would change the recommendation: more prompts or a quieter run, and another threshold."""
    said, floor = [], main.decision.scenario.ssim_threshold
    if item is not None and item is main.decision.winner and not item.is_baseline:
        values = {"label": item.label, "baseline": baseline.label}
        if not item.surely_meets(floor):
            said.append(
                _("More prompts: %(label)s, if all of the interval of its SSIM then met the threshold.") % values
            )
        if main.decision.scenario.minimise == "time_s" and item.restarts < FEWEST_RESTARTS:
            said.append(_("More restarts: %(label)s, if it were then told from %(baseline)s.") % values)
        elif main.decision.scenario.minimise == "time_s" and not item.told_from(baseline):
            said.append(_("A quieter machine: %(label)s, if it were then told from %(baseline)s.") % values)
    for change in found:
        text = (
            _("A threshold of SSIM above %(at)s: %(label)s.")
            if change.upwards
            else _("A threshold of SSIM of %(at)s or less: %(label)s.")
        )
        said.append(text % {"at": number(math.floor(1e4 * change.at) / 1e4, ".4f"), "label": change.then.label})
    return said


def other_uses(advice: Sequence[Advice], main: Advice, chosen: Candidate, _: Translate) -> list[str]:
    """What is supported for the other scenarios of the same machine, where it is another format."""
    text, said = _("Another use, %(scenario)s: %(label)s."), []
    for item in advice:
        if item.source is None or main.source is None or item.source.machine != main.source.machine:
            continue
        baseline = next(one for one in item.source.candidates if one.is_baseline)
        other = supported(item.decision, baseline)
        if item is not main and other is not None and other.name != chosen.name:
            said.append(text % {"scenario": item.label, "label": other.label})
    return said
