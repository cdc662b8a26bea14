"""Advice in sentences: what a scenario asks for, why not each other variant, and why there may be no answer."""

from stages.lib.project.sections import Scenario
from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.numbers import figure, quantity
from stages.lib.reporting.words.names import translated
from stages.lib.results.candidates import Candidate, Source
from stages.lib.results.scenarios import OBSTACLES, Decision


def asked_for(scenario: Scenario, _: Translate) -> list[str]:
    """The scenario's conditions, the aim first."""
    aims = {
        "time_s": _("the least latency"),
        "disk_mib": _("the least size on disk"),
        "peak_mib": _("the least peak memory"),
    }
    devices = {"any": _("any device"), "cpu": _("on a CPU"), "cuda": _("on a GPU"), "mobile": _("on a phone")}
    floor = _("SSIM %(floor)s or more") % {"floor": figure("ssim", scenario.ssim_threshold)}
    found = [aims[scenario.minimise], devices[scenario.device], floor]
    if scenario.memory_limit_mib is not None:
        found.append(_("at most %(limit)s") % {"limit": quantity(scenario.memory_limit_mib, "run_peak_mib")})
    return found


def shown(scenario: Scenario, item: Candidate) -> str:
    """The variant's figure of what the scenario minimises: of time, the paired speed-up, which alone compares."""
    shapes = {
        "time_s": lambda: quantity(item.speedup.value, "speedup"),
        "disk_mib": lambda: quantity(item.disk_mib, "disk_mib"),
        "peak_mib": lambda: quantity(item.peak_mib, "run_peak_mib"),
    }
    return shapes[scenario.minimise]()


def why_not(decision: Decision, item: Candidate, _: Translate) -> str:
    """One sentence why `item` is not recommended; '' for the winner."""
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
        ("time_s", True): _("Not faster: %(own)s against %(best)s, their intervals overlap."),
        ("disk_mib", False): _("Larger: %(own)s against %(best)s."),
        ("disk_mib", True): _("As large, and its SSIM of %(ssim)s is no higher."),
        ("peak_mib", False): _("Needs more memory: %(own)s against %(best)s."),
        ("peak_mib", True): _("Needs as much memory, and its SSIM of %(ssim)s is no higher."),
    }
    if not decision.trusted:
        return _("Not known to be slower: %(own)s against %(best)s, no speed is to be trusted.") % values
    return sentences[decision.scenario.minimise, tied] % values


def _obstacle(scenario: Scenario, item: Candidate, name: str, _: Translate) -> str:
    reaches = item.has_interval and item.ssim.high >= scenario.ssim_threshold
    sentences = {
        "device": _("Measured on another device (%(device)s)."),
        "simulated": _("Simulated: nothing runs in this format."),
        "unjudged": _("Its quality was not measured."),
        "quality": _("SSIM %(ssim)s, %(short)s below the threshold; not supported, the interval reaches %(high)s.")
        if reaches
        else _("SSIM %(ssim)s, %(short)s below the threshold."),
        "memory": _("Peak %(peak)s, %(over)s above the limit."),
    }
    return sentences[name]


def _values(scenario: Scenario, item: Candidate) -> dict[str, str]:
    found = {"device": item.device.upper()}
    if item.ssim is not None:
        short = scenario.ssim_threshold - item.ssim.value
        found |= {"ssim": figure("ssim", item.ssim.value), "high": figure("ssim", item.ssim.high)}
        found["short"] = number(short, ".3f" if short >= 0.0005 else ".1g")
    if item.peak_mib is not None and scenario.memory_limit_mib is not None:
        over = item.peak_mib - scenario.memory_limit_mib
        found |= {"peak": quantity(item.peak_mib, "run_peak_mib"), "over": quantity(over, "run_peak_mib")}
    return found


def unanswered(decision: Decision, source: Source | None, _: Translate) -> str:
    """Why a scenario has no advice; '' if it has. `source` is what measured the device, None if nothing did."""
    scenario = decision.scenario
    if decision.winner:
        return ""
    if scenario.device == "mobile":
        return _("Not answered: nothing was measured on a phone, and no back end here runs on one.")
    if source is None:
        return {
            "cuda": _("Not answered: quality and speed on a GPU were not both measured of a model of true size."),
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
    values = {"machine": source.machine, "model": translated(source.model_label, _), "baseline": source.baseline}
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
    values |= {"label": best.label, "speedup": quantity(best.speedup.value, "speedup")}
    values |= {"peak": quantity(best.peak_mib, "run_peak_mib")}
    unknown = [_("Its quality was not measured there.")] if best.ssim is None else []
    return " ".join([text % values, *unknown])
