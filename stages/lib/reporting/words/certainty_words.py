"""How sure advice is, in sentences: what the measured spreads say, and how far each number must move to change it."""

import math

from stages.lib.quality.statistics import FEWEST, FEWEST_FOR_SHARES
from stages.lib.reporting.languages import Translate, list_of, number, percent_of
from stages.lib.reporting.numbers import figure, figures, quantity
from stages.lib.reporting.words.scenario_words import shown
from stages.lib.results.candidates import FEWEST_RESTARTS
from stages.lib.results.scenarios import Decision, Turn, turns

CLEARLY_SMALLER = 0.95  # of the winner's size
CLOSE_SSIM = 0.001  # distances below it need more than three digits


def how_sure(decision: Decision, _: Translate) -> list[str]:
    """What the measured spreads say about the winner: whether it meets the threshold, and whether it is the best."""
    scenario, winner = decision.scenario, decision.winner
    if winner is None:
        return []
    span = {"mean": winner.ssim.value, "low": winner.ssim.low, "high": winner.ssim.high}
    values = {"label": winner.label, **figures("ssim", floor=scenario.ssim_threshold, **span)}
    if winner.is_baseline:
        text = _("%(label)s is the reference: its images are what the threshold of %(floor)s is measured against.")
        return [text % values, _best(decision, _)]
    if not winner.has_interval:
        text = _(
            "Whether %(label)s meets the threshold of %(floor)s in general is not known: SSIM %(mean)s, and of fewer "
            "than %(fewest)d images there is no interval."
        )
        return [text % {**values, "fewest": FEWEST}, _best(decision, _)]
    if winner.few_images and winner.ssim.low >= scenario.ssim_threshold:
        text = _(
            "That %(label)s meets the threshold of %(floor)s is not supported: SSIM %(mean)s, interval %(low)s to "
            "%(high)s, but of fewer than %(fewest)d images an interval holds the truth too rarely."
        )
        return [text % {**values, "fewest": FEWEST_FOR_SHARES}, _best(decision, _)]
    if decision.surely_fits:
        text = _(
            "That %(label)s meets the threshold of %(floor)s is supported at 95 %%: SSIM %(mean)s, interval %(low)s to "
            "%(high)s."
        )
        return [text % values, _best(decision, _)]
    text = _(
        "That %(label)s meets the threshold of %(floor)s is not supported: SSIM %(mean)s, but its 95 %% interval "
        "from %(low)s to %(high)s reaches below."
    )
    instead = _("No format surely keeps it.")
    if sure := decision.surely_best:
        instead = _("The best that surely keeps it is %(label)s (%(shown)s).")
        instead %= {"label": sure.label, "shown": shown(scenario, sure)}
    return [text % values, instead, _best(decision, _)]


def _best(decision: Decision, _: Translate) -> str:
    scenario, winner = decision.scenario, decision.winner
    if not decision.runner_up:
        return _("There is no other format that may be recommended.")
    if scenario.minimise == "peak_mib":
        return _("Peak memory was measured in one process each, so how far it varies is not known.")
    if scenario.minimise == "disk_mib":
        return _("Sizes are exact.")
    span = {"low": quantity(winner.speedup.low, "speedup"), "high": quantity(winner.speedup.high, "speedup")}
    if not decision.trusted:
        return _("That it is the fastest is not supported: no speed of this run is to be trusted.")
    if winner.restarts < FEWEST_RESTARTS:
        return _("That it is the fastest is not supported: its processes were started once, and another start differs.")
    tied = {"labels": list_of([item.label for item in decision.tied])}
    if winner.is_baseline and tied["labels"]:
        text = _("That it is the fastest is not supported: its speed cannot be told from that of %(labels)s.")
        return text % tied
    if winner.is_baseline:
        return (
            _("It is the fastest that may be recommended: the 95 %% intervals of the other speed-ups lie below 1.") % {}
        )
    if not decision.tied:
        text = _(
            "It is the fastest that may be recommended: the 95 %% interval of its speed-up, %(low)s to %(high)s, "
            "overlaps that of no other that may."
        )
        return text % span
    text = _(
        "That it is the fastest is not supported: the 95 %% interval of its speed-up, %(low)s to %(high)s, overlaps "
        "that of %(labels)s."
    )
    return text % {**span, **tied}


def break_the_tie(decision: Decision, _: Translate) -> str:
    """Of those that cannot be told from the winner, the smallest, if it is smaller; else ''."""
    smallest = min(decision.tied, key=lambda item: item.disk_mib, default=None)
    if smallest is None or decision.scenario.minimise != "time_s":
        return ""
    if smallest.disk_mib > CLEARLY_SMALLER * decision.winner.disk_mib:
        return ""
    text = _(
        "Where size counts as well, %(label)s does as well in time as far as can be told, with %(own)s on disk against "
        "%(best)s and SSIM %(ssim)s."
    )
    return text % {
        "label": smallest.label,
        "own": quantity(smallest.disk_mib, "disk_mib"),
        "best": quantity(decision.winner.disk_mib, "disk_mib"),
        "ssim": figure("ssim", smallest.ssim.value),
    }


def turning(decision: Decision, _: Translate) -> list[str]:
    """How far each number must move, alone, to change the advice."""
    return [text for turn in turns(decision) if (text := _turn(decision, turn, _))]


def _turn(decision: Decision, turn: Turn, _: Translate) -> str:
    if turn.kind == "rival":
        return ""  # told together with the winner's
    if turn.kind == "winner":
        return _minimised(decision, turn, _)
    if turn.kind == "floor-up" and turn.at >= 1:
        return _("No quality threshold would change it: its images are those of the reference.")
    by = abs(turn.at - turn.now)
    if turn.kind.startswith("floor"):
        near = min(by, 1 - turn.at) < CLOSE_SSIM
        values = {"at": _ssim(turn.at, near), "by": _ssim(by, near)}
    else:
        values = {"at": quantity(turn.at, "run_peak_mib"), "by": quantity(by, "run_peak_mib")}
    if turn.then is None:
        sentences = {
            "floor-up": _("Above an SSIM threshold of %(at)s, %(by)s more than asked, no format would be recommended."),
            "limit-down": _(
                "With less memory than %(at)s, %(by)s less than the limit, no format would be recommended."
            ),
        }
        return sentences[turn.kind] % values
    sentences = {
        "floor-up": _("Above an SSIM threshold of %(at)s, %(by)s more than asked, it would be %(then)s."),
        "floor-down": _("With an SSIM threshold of %(at)s, %(by)s less than asked, it would be %(then)s."),
        "limit-down": _("With less memory than %(at)s, %(by)s less than the limit, it would be %(then)s."),
        "limit-up": _("With %(at)s of memory, %(by)s more than the limit, it would be %(then)s."),
    }
    return sentences[turn.kind] % (values | {"then": turn.then.label})


def _minimised(decision: Decision, turn: Turn, _: Translate) -> str:
    """How far what is minimised must move, of the winner or of the runner-up. Of time, the speed-up is told."""
    scenario = decision.scenario
    change = 1 - turn.now / turn.at if scenario.minimise == "time_s" else turn.at / turn.now - 1
    sentences = {
        "time_s": _(
            "%(then)s would be recommended if the speed-up of %(label)s fell from %(now)s below %(at)s (by "
            "%(percent)s), or if that of %(then)s rose above %(now)s."
        ),
        "disk_mib": _(
            "%(then)s would be recommended if the size of %(label)s rose from %(now)s above %(at)s (by %(percent)s), "
            "or if that of %(then)s fell below %(now)s."
        ),
        "peak_mib": _(
            "%(then)s would be recommended if the peak of %(label)s rose from %(now)s above %(at)s (by %(percent)s), "
            "or if that of %(then)s fell below %(now)s."
        ),
    }
    if turn.then in decision.tied and scenario.minimise == "time_s":
        text = _("%(then)s would do as well, as far as can be told: %(at)s against %(now)s, their intervals overlap.")
        if not decision.trusted:
            text = _("%(then)s may do as well: %(at)s against %(now)s, in a run whose speeds are not to be trusted.")
        return text % {
            "then": turn.then.label,
            "at": shown(scenario, decision.runner_up),
            "now": shown(scenario, decision.winner),
        }
    return sentences[scenario.minimise] % {
        "then": turn.then.label,
        "label": decision.winner.label,
        "now": shown(scenario, decision.winner),
        "at": shown(scenario, decision.runner_up),
        "percent": percent_of(change, ".1f"),
    }


def _ssim(value: float, near: bool) -> str:
    """An SSIM or a distance of two; a `near` one with four digits, the rest cut off lest it round to 1."""
    return number(math.floor(1e4 * value + 1e-6) / 1e4, ".4f") if near else figure("ssim", value)
