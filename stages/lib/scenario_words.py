"""Advice in sentences: why one variant, why not each other one, how sure, and what would change it."""

import math
from collections.abc import Callable

from stages.lib.answer import figure
from stages.lib.candidates import Candidate, Source
from stages.lib.charts import Translate
from stages.lib.params import Scenario
from stages.lib.scenarios import OBSTACLES, Decision, Turn, turns

CLEARLY_SMALLER = 0.95  # of the winner's size
CLOSE_SSIM = 0.001  # distances below it need more than three digits
NO_BREAK_SPACE = "\u00a0"


def scenario_names(_: Translate) -> dict[str, str]:
    """The study's scenarios in the report's language, by the label that params.yaml gives them."""
    return {
        "Research and development": _("Research and development"),
        "Production on a GPU with more than 8 GB": _("Production on a GPU with more than 8 GB"),
        "Production on a GPU with 4 to 8 GB": _("Production on a GPU with 4 to 8 GB"),
        "Production on a GPU with 2 to 4 GB": _("Production on a GPU with 2 to 4 GB"),
        "Demonstrations and prototypes": _("Demonstrations and prototypes"),
        "Deployment on a CPU alone": _("Deployment on a CPU alone"),
        "Mobile devices": _("Mobile devices"),
        "Edge computing": _("Edge computing"),
    }


def study_words(_: Translate) -> dict[str, str]:
    """What the study recommends, in the report's language, by its words in data/study/recommendations.json."""
    return {
        "FP16 + optimisations": _("FP16 + optimisations"),
        "INT8 (TFLite, Core ML)": _("INT8 (TFLite, Core ML)"),
        "INT8 with hardware support": _("INT8 with hardware support"),
    }


def asked_for(scenario: Scenario, _: Translate) -> list[str]:
    """The scenario's conditions, the aim first."""
    aims = {
        "time_s": _("the least time per picture"),
        "disk_mib": _("the least size on disk"),
        "peak_mib": _("the least peak memory"),
    }
    devices = {"any": _("any device"), "cpu": _("on a CPU"), "cuda": _("on a GPU"), "mobile": _("on a phone")}
    floor = _("SSIM %(floor)s or more") % {"floor": figure("ssim", scenario.ssim_floor)}
    found = [aims[scenario.minimise], devices[scenario.device], floor]
    if scenario.memory_limit_mib is not None:
        found.append(_("at most %(limit)s") % {"limit": _peak(scenario.memory_limit_mib)})
    return found


def shown(scenario: Scenario, item: Candidate) -> str:
    """The variant's figure of what the scenario minimises: of time, the paired speed-up, which alone compares."""
    shapes = {
        "time_s": lambda: _times(item.speedup.value),
        "disk_mib": lambda: _disk(item.disk_mib),
        "peak_mib": lambda: _peak(item.peak_mib),
    }
    return shapes[scenario.minimise]()


def why_not(decision: Decision, item: Candidate, _: Translate) -> str:
    """One sentence why `item` is not advised; '' for the winner."""
    if item is decision.winner:
        return ""
    held = next((found for other, found in decision.excluded if other is item), ())
    values = _values(decision.scenario, item)
    if held:
        return _obstacle(decision.scenario, item, min(held, key=OBSTACLES.index), _) % values
    values |= {"own": shown(decision.scenario, item), "best": shown(decision.scenario, decision.winner)}
    tied = item in decision.tied
    sentences = {
        ("time_s", False): _("Slower: %(own)s against %(best)s."),
        ("time_s", True): _("Not faster: %(own)s against %(best)s, their ranges overlap."),
        ("disk_mib", False): _("Larger: %(own)s against %(best)s."),
        ("disk_mib", True): _("As large, and its SSIM of %(ssim)s is no higher."),
        ("peak_mib", False): _("Needs more memory: %(own)s against %(best)s."),
        ("peak_mib", True): _("Needs as much memory, and its SSIM of %(ssim)s is no higher."),
    }
    return sentences[decision.scenario.minimise, tied] % values


def _obstacle(scenario: Scenario, item: Candidate, name: str, _: Translate) -> str:
    reaches = item.ssim is not None and item.ssim.high >= scenario.ssim_floor
    sentences = {
        "device": _("Measured on another device (%(device)s)."),
        "simulated": _("Simulated: nothing runs in this format."),
        "unjudged": _("Its quality was not measured."),
        "quality": _("SSIM %(ssim)s, %(short)s below the floor; not sure, the interval reaches %(high)s.")
        if reaches
        else _("SSIM %(ssim)s, %(short)s below the floor."),
        "memory": _("Peak %(peak)s, %(over)s above the limit."),
    }
    return sentences[name]


def _values(scenario: Scenario, item: Candidate) -> dict[str, str]:
    found = {"device": item.device.upper()}
    if item.ssim is not None:
        short = scenario.ssim_floor - item.ssim.value
        found |= {"ssim": figure("ssim", item.ssim.value), "high": figure("ssim", item.ssim.high)}
        found["short"] = f"{short:.3f}" if short >= 0.0005 else f"{short:.1g}"
    if item.peak_mib is not None and scenario.memory_limit_mib is not None:
        found |= {"peak": _peak(item.peak_mib), "over": _peak(item.peak_mib - scenario.memory_limit_mib)}
    return found


def how_sure(decision: Decision, list_of: Callable[[list[str]], str], _: Translate) -> list[str]:
    """What the measured spreads say about the winner: whether it keeps the floor, and whether it is the best."""
    scenario, winner = decision.scenario, decision.winner
    if winner is None:
        return []
    values = {"label": winner.label, "low": figure("ssim", winner.ssim.low), "high": figure("ssim", winner.ssim.high)}
    values |= {"floor": figure("ssim", scenario.ssim_floor), "mean": figure("ssim", winner.ssim.value)}
    found = []
    if decision.surely_fits:
        text = _(
            "That %(label)s keeps the floor of %(floor)s is sure: SSIM %(mean)s, 95 %% interval %(low)s to %(high)s."
        )
        found.append(text % values)
    else:
        text = _(
            "That %(label)s keeps the floor of %(floor)s is not sure: SSIM %(mean)s, but its 95 %% interval from "
            "%(low)s to %(high)s reaches below."
        )
        found.append(text % values)
        if decision.surely_best:
            sure = decision.surely_best
            text = _("The best that surely keeps it is %(label)s (%(shown)s).")
            found.append(text % {"label": sure.label, "shown": shown(scenario, sure)})
        else:
            found.append(_("No format surely keeps it."))
    return [*found, _best(decision, list_of, _)]


def _best(decision: Decision, list_of: Callable[[list[str]], str], _: Translate) -> str:
    scenario, winner = decision.scenario, decision.winner
    if not decision.runner_up:
        return _("There is no other format that may be advised.")
    if scenario.minimise == "peak_mib":
        return _("Peak memory was measured in one process each, so how far it varies is not known.")
    if scenario.minimise == "disk_mib":
        return _("Sizes are exact.")
    span = {"low": _times(winner.speedup.low), "high": _times(winner.speedup.high)}
    if not decision.tied:
        text = _(
            "That it is the fastest is sure: the range of its speed-up, %(low)s to %(high)s, overlaps no other one."
        )
        return text % span
    text = _(
        "That it is the fastest is not sure: the range of its speed-up, %(low)s to %(high)s, overlaps "
        "that of %(labels)s."
    )
    return text % {**span, "labels": list_of([item.label for item in decision.tied])}


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
    values = {"label": smallest.label, "own": _disk(smallest.disk_mib), "best": _disk(decision.winner.disk_mib)}
    return text % (values | {"ssim": figure("ssim", smallest.ssim.value)})


def turning(decision: Decision, _: Translate) -> list[str]:
    """How far each number must move, alone, to change the advice."""
    return [text for turn in turns(decision) if (text := _turn(decision, turn, _))]


def _turn(decision: Decision, turn: Turn, _: Translate) -> str:
    scenario = decision.scenario
    then = turn.then.label if turn.then else _("no format")
    values = {"then": then, "label": decision.winner.label if decision.winner else ""}
    if turn.kind in ("winner", "rival"):
        if turn.kind == "rival":
            return ""  # told together with the winner's
        percent = 100 * (turn.at / turn.now - 1)
        if scenario.minimise == "time_s":  # in speed-ups, as every table has them
            percent = 100 * (1 - turn.now / turn.at)
        values |= {"now": shown(scenario, decision.winner), "at": shown(scenario, decision.runner_up)}
        values["percent"] = f"{percent:.1f}{NO_BREAK_SPACE}%"
        sentences = {
            "time_s": _(
                "%(then)s would be advised if the speed-up of %(label)s fell from %(now)s below %(at)s (by "
                "%(percent)s), or if that of %(then)s rose above %(now)s."
            ),
            "disk_mib": _(
                "%(then)s would be advised if the size of %(label)s rose from %(now)s above %(at)s (by "
                "%(percent)s), or if that of %(then)s fell below %(now)s."
            ),
            "peak_mib": _(
                "%(then)s would be advised if the peak of %(label)s rose from %(now)s above %(at)s (by "
                "%(percent)s), or if that of %(then)s fell below %(now)s."
            ),
        }
        return sentences[scenario.minimise] % values
    if turn.kind.startswith("floor"):
        by = abs(turn.at - turn.now)
        near = min(by, 1 - turn.at) < CLOSE_SSIM
        values |= {"at": _ssim(turn.at, near), "by": _ssim(by, near)}
    else:
        values |= {"at": _peak(turn.at), "by": _peak(abs(turn.at - turn.now))}
    sentences = {
        "floor-up": _("Above an SSIM floor of %(at)s, %(by)s more than asked, it would be %(then)s."),
        "floor-down": _("With an SSIM floor of %(at)s, %(by)s less than asked, it would be %(then)s."),
        "limit-down": _("With less memory than %(at)s, %(by)s less than the limit, it would be %(then)s."),
        "limit-up": _("With %(at)s of memory, %(by)s more than the limit, it would be %(then)s."),
    }
    if turn.kind == "floor-up" and turn.at >= 1:
        return _("No quality floor would change it: its pictures are those of the reference.")
    return sentences[turn.kind] % values


def unanswered(decision: Decision, source: Source | None, _: Translate) -> str:
    """Why a scenario has no advice; '' if it has. `source` is what measured the device, None if nothing did."""
    scenario = decision.scenario
    if decision.winner:
        return ""
    if scenario.device == "mobile":
        return _("Not answered: nothing was measured on a phone, and no back end here runs on one.")
    if source is None:
        return {
            "cuda": _("Not answered: no format of this model was measured on a GPU."),
            "cpu": _("Not answered: no format of this model was measured on a CPU."),
            "any": _("Not answered: no format of this model was timed."),
        }[scenario.device]
    return _("No measured format serves this.")


def elsewhere(scenario: Scenario, source: Source, _: Translate) -> str:
    """What the measurements of another model on that device say: no advice, but a fact."""
    limit = scenario.memory_limit_mib
    fits = [
        item
        for item in source.candidates
        if item.speedup and item.device == scenario.device and (limit is None or item.peak_mib <= limit)
    ]
    values = {"machine": source.machine, "model": source.model_label, "baseline": source.baseline}
    if not fits:
        return _("On %(machine)s no format of %(model)s stayed within the limit.") % values
    if scenario.minimise == "time_s":
        best = max(fits, key=lambda item: item.speedup.value)
        text = _(
            "On %(machine)s, the fastest format of %(model)s within the limit is %(label)s (%(speedup)s against "
            "%(baseline)s, peak %(peak)s)."
        )
    else:
        best = min(fits, key=lambda item: item.peak_mib)
        text = _(
            "On %(machine)s, the format of %(model)s with the least memory is %(label)s (peak %(peak)s, %(speedup)s "
            "against %(baseline)s)."
        )
    values |= {"label": best.label, "speedup": _times(best.speedup.value), "peak": _peak(best.peak_mib)}
    unknown = [_("Its quality was not measured there.")] if best.ssim is None else []
    return " ".join([text % values, *unknown])


def _ssim(value: float, near: bool) -> str:
    """An SSIM or a distance of two; a `near` one with four digits, the rest cut off lest it round to 1."""
    return f"{math.floor(1e4 * value + 1e-6) / 1e4:.4f}" if near else figure("ssim", value)


def _times(value: float) -> str:
    return f"{figure('speedup', value)}×"


def _disk(value: float) -> str:
    return f"{figure('disk_mib', value)}{NO_BREAK_SPACE}MiB"


def _peak(value: float) -> str:
    return f"{figure('run_peak_mib', value)}{NO_BREAK_SPACE}MiB"
