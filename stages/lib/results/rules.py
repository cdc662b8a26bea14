"""Rules of thumb about formats, each put to the figures of one model: does it hold there?

A rule is held to be true, or untrue, only where the figures exclude the contrary: intervals lie on one side of a bound.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib.project.params import Params, Variant
from stages.lib.project.variant import DTYPE_BITS
from stages.lib.quality.statistics import FEWEST, compare_paired
from stages.lib.results.candidates import ssim_range
from stages.lib.results.other_models import ComparedModel, Role
from stages.lib.results.records import MeasuredVariant
from stages.lib.results.spared import shares_of_kinds
from stages.lib.results.speeds import fastest, speedup_of
from stages.lib.results.summary import definition

SURE = 0.975  # of resamples, in which the largest share stays the largest
HARMLESS = ("negligible", "minimal")  # effects of a format on a component
ENDS, TIMED = ("first and last",), ("time", "modulation")  # kinds of layers
GAP_BITS = 0.5  # a mixture has fewer


@dataclass(frozen=True)
class Finding:
    """Whether a rule holds on one model, None where that cannot be told, and the figures, whose words go by `shape`."""

    holds: bool | None
    shape: str
    figures: dict[str, Any]


Rule = Callable[[ComparedModel, Params], Finding | None]


def _threshold(params: Params) -> float:
    return params.scenarios[params.main_scenario].ssim_threshold


def _chosen(model: ComparedModel, fits: Callable[[Variant], bool]) -> list[MeasuredVariant]:
    """Formats but the baseline that are made from finished weights, without tuning."""
    others = (item for item in model.variants if item.name != model.baseline and not item.variant.tuning)
    return [item for item in others if fits(item.variant)]


def _keeps(items: Iterable[MeasuredVariant], bound: float) -> Finding | None:
    """Whether all have a mean SSIM of at least `bound`; figures of the worst. None of too few images for intervals."""
    judged = (item for item in items if item.quality["measured"] and item.quality["images"] >= FEWEST)
    ranges = {item.label: ssim_range(item.quality) for item in judged}
    if not ranges:
        return None
    worst = min(ranges, key=lambda label: ranges[label].value)
    short = any(found.high < bound for found in ranges.values())
    holds = True if all(found.low >= bound for found in ranges.values()) else False if short else None
    return Finding(holds, "ssim", {"label": worst, "ssim": ranges[worst], "bound": bound})


def _plain(variant: Variant) -> bool:
    return variant.activations == "none" and variant.components is None


def _mixed(variant: Variant) -> bool:
    return variant.weights == "int4" and not variant.scale_group_size and variant.bits_per_weight > DTYPE_BITS["int4"]


def floats_of_16_bits(model: ComparedModel, params: Params) -> Finding | None:
    """16-bit floats change no image beyond the margin of SSIM."""
    items = _chosen(model, lambda item: item.weights in ("float16", "bfloat16") and _plain(item))
    return _keeps(items, 1 - params.quality.margins.ssim)


def weights_of_8_bits(model: ComparedModel, params: Params) -> Finding | None:
    """INT8 weights, activations not rounded, reach the threshold of the main scenario."""
    return _keeps(_chosen(model, lambda item: item.weights == "int8" and _plain(item)), _threshold(params))


def weights_of_4_bits(model: ComparedModel, params: Params) -> Finding | None:
    """INT4 weights of one precision throughout miss it."""
    found = _keeps(_chosen(model, lambda item: item.weights == "int4" and not _mixed(item)), _threshold(params))
    return found if found is None or found.holds is None else Finding(not found.holds, found.shape, found.figures)


def mixed_bits(model: ComparedModel, params: Params) -> Finding | None:
    """With the layers that suffer most spared, they reach it."""
    return _keeps(_chosen(model, _mixed), _threshold(params))


def activations_cost_more(model: ComparedModel, params: Params) -> Finding | None:
    """Rounding the activations to INT8 as well costs SSIM beyond the margin."""
    weights = _chosen(model, lambda item: item.simulated and item.weights == "int8" and _plain(item))
    for both in _chosen(model, lambda item: item.simulated and (item.weights, item.activations) == ("int8", "int8")):
        alike = {key: value for key, value in definition(both.variant).items() if key != "activations"}
        for item in weights:
            if definition(item.variant) == alike and both.quality["measured"]:
                values = [[r["ssim"] for r in found.quality["per_image"]] for found in (item, both)]
                quality, change = params.quality, np.diff(np.array(values), axis=0)
                found = compare_paired(change, quality.margins.ssim, quality.resamples, quality.seed)[0]
                holds = {"lower": True, "equal": False, "higher": False, "undecided": None}[found.verdict]
                return Finding(holds, "change", {"label": both.label, "other": item.label, "change": found})
    return None


def runtime_alone(model: ComparedModel, params: Params) -> Finding | None:
    """Another runtime is faster in FP32 already, with the same images."""
    items = [
        item
        for item in _chosen(model, lambda item: (item.weights, item.compute) == ("float32", "float32"))
        if item.timed and item.variant.backend != model.reference.variant.backend
    ]
    if not items:
        return None
    same = 1 - params.quality.margins.ssim
    possible = [item for item in items if not item.quality["measured"] or ssim_range(item.quality).high >= same]
    equal = [item for item in possible if not item.quality["measured"] or ssim_range(item.quality).low >= same]
    best = max(equal or possible or items, key=lambda item: item.timing["speedup"])
    speed = speedup_of(best.timing)
    unsure = possible and (speed.high > 1 or not best.timing["trusted"])
    holds = True if equal and best.timing["trusted"] and speed.low > 1 else None if unsure else False
    return Finding(holds, "speedup", {"label": best.label, "speedup": speed})


def integers_are_fastest(model: ComparedModel, params: Params) -> Finding | None:
    """The fastest format computes in INT8, and no other one may be as fast."""
    timed = {item.name: item.timing for item in model.variants if item.timed}
    if len(timed) < 2:
        return None
    first = [model.find(name) for name in fastest(timed)]
    integer = [item.variant.weights == item.variant.activations == "int8" for item in first]
    holds = None if not first[0].timing["trusted"] else True if all(integer) else None if any(integer) else False
    return Finding(holds, "speedup", {"label": first[0].label, "speedup": speedup_of(first[0].timing)})


def _last(model: ComparedModel) -> dict[str, Any] | None:
    """What was traced to components of the last format of `sensitivity.formats`; None of too few images."""
    found = model.sensitivity.get("components")
    return found["formats"][-1] if found and found["images"] >= FEWEST else None


def denoiser_decides(model: ComparedModel, params: Params) -> Finding | None:
    """The denoiser causes the largest part of the damage to images."""
    found = _last(model)
    if found is None or not (leader := found["probe_points"]["image"]["leader"]):
        return None
    place = found["probe_points"]["image"]
    row = next(row for row in place["components"] if row["component"] == leader["component"])
    told = place["tells"] and leader["certainty"] >= SURE
    holds = leader["component"] in model.roles["denoiser"] if told else None
    figures = {"component": leader["component"], "share": row["share"], "n": len(place["wholes"])}
    return Finding(holds, "component", figures | {"format": found["label"]})


def _harmless(role: Role) -> Rule:
    def rule(model: ComparedModel, params: Params) -> Finding | None:
        found = _last(model)
        rows = [row for row in found["components"] if row["component"] in model.roles[role]] if found else []
        if not rows or any(row["effect_worst"] is None for row in rows):
            return None
        worst = min(rows, key=lambda row: (row["effect_worst"] in HARMLESS, row["psnr_worst_db"] or math.inf))
        figures = {key: worst[key] for key in ("component", "psnr_db", "psnr_worst_db")} | {"format": found["label"]}
        return Finding(all(row["effect_worst"] in HARMLESS for row in rows), "effects", figures)

    return rule


def early_calls(model: ComparedModel, params: Params) -> Finding | None:
    """The first third of the denoiser's calls is where a rounded window of calls hurts most, in most images."""
    steps = model.sensitivity.get("steps")
    if not steps or not steps["formats"]:
        return None
    windows = steps["formats"][-1]["windows"]
    samples = np.array([window["rms"]["samples"] for window in windows])
    worst = int(np.argmax([window["rms"]["median"] for window in windows]))
    own, n = int((samples.argmax(axis=0) == worst).sum()), samples.shape[1]
    first, last = windows[worst]["first"] + 1, windows[worst]["last"] + 1
    holds = 3 * (first + last) / 2 <= steps["calls"] if 2 * own > n >= FEWEST else None
    return Finding(holds, "window", {"first": first, "last": last, "calls": steps["calls"], "own": own, "n": n})


def _causes(kinds: tuple[str, ...], suffices: Callable[[float, float], bool]) -> Rule:
    """Whether the share of noise that layers of these kinds cause suffices, seen with their share of the weights."""

    def rule(model: ComparedModel, params: Params) -> Finding | None:
        layers = model.sensitivity.get("layers")
        if not layers:
            return None
        shares = shares_of_kinds(layers["layers"])
        noise, weights = (sum(shares[kind][place] for kind in kinds if kind in shares) for place in (0, 1))
        return Finding(suffices(noise, weights), "layers", {"noise": noise, "weights": weights})

    return rule


def mixtures_win(model: ComparedModel, params: Params) -> Finding | None:
    """Fewer bits in a mixture are better than more bits throughout: the widest such gap, or what comes nearest."""
    budgets = model.sensitivity["layers"]["budgets"] if "layers" in model.sensitivity else ()
    uniform, mixed = ([row for row in budgets if row["kind"] == kind] for kind in ("uniform", "mixed"))
    pairs = [(one, two) for one in uniform for two in mixed if two["mean_bits"] <= one["mean_bits"] - GAP_BITS]
    if not pairs:
        return None
    better = [pair for pair in pairs if pair[1]["noise"] < pair[0]["noise"]]
    one, two = min(pairs, key=lambda pair: pair[1]["noise"] / pair[0]["noise"])
    if better:
        one, two = max(better, key=lambda pair: pair[0]["mean_bits"] - pair[1]["mean_bits"])
    return Finding(bool(better), "budget", {"uniform": one["mean_bits"], "mixed": two["mean_bits"]})


# In the order of the report's table.
RULES: dict[str, Rule] = {
    "floats_of_16_bits": floats_of_16_bits,
    "weights_of_8_bits": weights_of_8_bits,
    "activations_cost_more": activations_cost_more,
    "weights_of_4_bits": weights_of_4_bits,
    "mixed_bits": mixed_bits,
    "mixtures_win": mixtures_win,
    "spare_the_ends": _causes(ENDS, lambda noise, _weights: noise > 0.5),
    "spare_the_time": _causes(TIMED, lambda noise, weights: noise > weights),
    "runtime_alone": runtime_alone,
    "integers_are_fastest": integers_are_fastest,
    "denoiser_decides": denoiser_decides,
    "text_encoders_withstand": _harmless("text_encoders"),
    "decoder_withstands": _harmless("decoder"),
    "early_calls": early_calls,
}


@dataclass(frozen=True)
class Rules:
    """One rule on every model, in their order; None where a model lacks the figures."""

    key: str
    findings: tuple[Finding | None, ...]

    def transfers(self, number: int) -> bool | None:
        """Whether what is found on the first model is found on model `number`; None where either cannot tell."""
        first, other = self.findings[0], self.findings[number]
        if first is None or other is None or first.holds is None or other.holds is None:
            return None
        return first.holds == other.holds


def apply_rules(models: Sequence[ComparedModel], params: Params) -> list[Rules]:
    """Every rule that two models or more have figures for."""
    found = [Rules(key, tuple(rule(model, params) for model in models)) for key, rule in RULES.items()]
    return [rules for rules in found if sum(finding is not None for finding in rules.findings) > 1]
