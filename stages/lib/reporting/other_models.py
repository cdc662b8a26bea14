"""The chapter about another model with the same formats: what its tables and sentences are filled with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.lib.formats.shared.executed_work import work_of
from stages.lib.project.params import Params
from stages.lib.reporting.charts.canvas import Chart
from stages.lib.reporting.charts.sensitivity_charts import grouped_bars
from stages.lib.reporting.charts.shapes import Bar, said
from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.outline import MODELS_CHAPTER, OF_MODELS
from stages.lib.reporting.words import model_words, rule_words
from stages.lib.reporting.words.names import names_of, translated
from stages.lib.results.candidates import candidate
from stages.lib.results.other_models import ComparedModel, Missing, Row, common_images, rows_of
from stages.lib.results.rules import apply_rules
from stages.lib.results.scenarios import Decision, decide
from stages.lib.results.spared import shares_of_kinds, to_spare

HALF = 0.5  # of the noise, caused by the layers that a model must spare first


@dataclass(frozen=True)
class Use:
    """One scenario that two models or more have an answer to, decided on each."""

    label: str
    decisions: tuple[Decision, ...]


def other_models_values(
    own: ComparedModel, others: Sequence[ComparedModel | Missing], params: Params, _: Translate
) -> dict[str, Any]:
    """`compared` is empty where no other model has records; `without`: what the outline then lacks."""
    models = [own, *(model for model in others if isinstance(model, ComparedModel))]
    absent = [model_words.absent_words(model, _) for model in others if isinstance(model, Missing)]
    if len(models) == 1:
        without = OF_MODELS if absent else MODELS_CHAPTER
        return {"compared": [], "absent_models": absent, "without": without, "models_chart": None}
    rows, rules, uses = rows_of(models, params), apply_rules(models, params), uses_of(models, params, _)
    layers = {model.key: model.sensitivity["layers"] for model in models if "layers" in model.sensitivity}
    spared = {key: to_spare(found["layers"], HALF) for key, found in layers.items()}
    labels = [translated(model.label, _) for model in models]
    kinds, roles = kind_rows([layers.get(model.key) for model in models]), role_rows(models)
    short = short_labels(models, _)
    named = [replace(model, label=label) for model, label in zip(models, short, strict=True)]  # as sentences have them
    own, pairs = named[0], [(place, other) for place, other in enumerate(named) if place]
    chart = models_chart(rows, short, own.baseline, _)
    there = {
        "table-models-damage": roles,
        "table-models-kinds": kinds,
        "table-models-uses": uses,
        "chart-models": chart,
    }
    there |= {"table-models-rules": rules, "models-damage": roles or kinds, "models-advice": rules or uses}
    return {
        "without": {key for key, found in there.items() if not found},
        "models_chart": chart,
        "absent_models": absent,
        "compared": models,
        "model_labels": labels,
        "short_labels": short,
        "common_images": common_images(models),
        "profiles": [profile(model) for model in models],
        "format_rows": rows,
        "rule_rows": rules,
        "uses": uses,
        "kind_rows": kinds,
        "role_rows": roles,
        "third_rows": [thirds(model) for model in models],
        "model_answer": [model_words.answer_words(own, other, n, rules, params, _) for n, other in pairs],
        "model_cautions": model_words.cautions(named, common_images(models), _),
        "quality_words": [model_words.quality_words(own, other, n, rows, _) for n, other in pairs],
        "speed_words": [model_words.speed_words(own, other, n, rows, _) for n, other in pairs],
        "spare_words": [model_words.spare_words(model, spared[model.key], _) for model in named if model.key in spared],
        "spare_differences": [
            model_words.spare_difference(own, other, spared[own.key], spared[other.key], _)
            for _place, other in pairs
            if {own.key, other.key} <= spared.keys()
        ],
        "uses_words": [model_words.uses_words(own, other, n, [use.decisions for use in uses], _) for n, other in pairs],
        "finding_words": lambda finding: rule_words.finding_words(finding, _),
        "rule_words": lambda rules: rule_words.rule_words(rules, params, _),
    }


def short_labels(models: Sequence[ComparedModel], _: Translate) -> list[str]:
    """What kind of denoiser each has, where that tells them apart; else what they are called."""
    names = names_of("component", _)
    found = [", ".join(names[name] for name in model.roles.get("denoiser", ())) for model in models]
    told = all(found) and len(set(found)) == len(models)
    return [name[0].upper() + name[1:] for name in found] if told else [translated(model.label, _) for model in models]


def profile(model: ComparedModel) -> dict[str, Any]:
    """What kind of model it is, as far as its baseline's records tell."""
    item, denoiser = model.reference, model.roles.get("denoiser", ())
    sizes = {row["component"]: row["parameters"] for row in item.size["components"]}
    work = [row for row in work_of(item.timing.get("executed", ())) if row.component in denoiser]
    total = sum(row.multiply_accumulates for row in work)
    attributes = (item.quality.get("attributes") or {}).get("all")
    return {
        "denoiser": denoiser,
        "parameters": item.size["parameters"],
        "denoiser_parameters": sum(sizes[name] for name in denoiser),
        "disk_mib": item.size["disk_mib"],
        "calls": item.timing.get("denoiser_steps"),
        "pixels": [item.timing[side] for side in ("width", "height")] if item.timed else None,
        "work": {
            name: sum(row.multiply_accumulates for row in work if row.operator.startswith(name)) / total
            for name in ("Conv", "Linear", "MatMul")
            if total
        },
        "latency_s": item.timing.get("latency_s"),
        "right": 100 * attributes["right"] / attributes["asked"] if attributes else None,
    }


def uses_of(models: Sequence[ComparedModel], params: Params, _: Translate) -> list[Use]:
    """The scenarios that at least two models have a format for, of the formats that all models have.

    None where they were timed on different machines.
    """
    if len({model.fingerprint for model in models}) > 1:
        return []
    common = set.intersection(*({item.name for item in model.variants} for model in models))
    candidates = [
        [
            candidate(item, item.name == model.baseline, item.variant.device)
            for item in model.variants
            if item.name in common
        ]
        for model in models
    ]
    found = []
    for scenario in params.scenarios.values():
        decisions = tuple(decide(scenario, items) for items in candidates)
        if sum(decision.winner is not None for decision in decisions) > 1:
            found.append(Use(translated(scenario.label, _), decisions))
    return found


def kind_rows(layers: Sequence[dict[str, Any] | None]) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """By kind of layer, what causes most first: for each model the share of noise and of weights, and its own noise."""
    cells: dict[str, list[dict[str, Any] | None]] = {}
    for place, found in enumerate(layers):
        groups = {row["name"]: row for row in found["kinds"]} if found else {}
        for kind, (noise, weights) in shares_of_kinds(found["layers"]).items() if found else ():
            row = {"noise": noise, "weights_share": weights, **groups[kind]}
            cells.setdefault(kind, [None] * len(layers))[place] = row
    return sorted(cells.items(), key=lambda item: -max(cell["noise"] for cell in item[1] if cell))


def role_rows(models: Sequence[ComparedModel]) -> list[tuple[str, list[list[dict[str, Any]]]]]:
    """By role, for each model the networks that have it: share of the damage to the image and effect alone."""
    found = []
    for role in ("text_encoders", "denoiser", "decoder"):
        cells = []
        for model in models:
            last = model.sensitivity["components"]["formats"][-1] if model.roles else {}
            shares = {row["component"]: row for row in last["probe_points"]["image"]["components"]} if last else {}
            effects = {row["component"]: row for row in last["components"]} if last else {}
            cells.append([effects[name] | {"share": shares[name]["share"]} for name in model.roles.get(role, ())])
        if any(cells):
            found.append((role, cells))
    return found


def thirds(model: ComparedModel) -> list[float | None] | None:
    """The mean over a third of the denoiser's calls, first to last, of what one window there changes: RMS, levels.

    Of each window the median over images; None where that was not measured.
    """
    steps = model.sensitivity.get("steps")
    if not steps or not steps["formats"]:
        return None
    parts: list[list[float]] = [[], [], []]
    for window in steps["formats"][-1]["windows"]:
        middle = (window["first"] + window["last"] + 1) / 2 / steps["calls"]
        parts[min(2, int(3 * middle))].append(window["rms"]["median"])
    return [sum(part) / len(part) if part else None for part in parts]


def models_chart(rows: Sequence[Row], labels: Sequence[str], baseline: str, _: Translate) -> Chart | None:
    """By format and model, how far the mean SSIM is from 1; None where no images were compared."""
    bars = []
    for row in rows:
        values = [1 - cell.ssim["mean"] if cell and cell.ssim else None for cell in row.cells]
        if row.name != baseline and any(value is not None for value in values):
            note = " / ".join("–" if value is None else number(value, ".3f") for value in values)
            bars.append(Bar(row.label, values, note))
    if not bars:
        return None
    svg = grouped_bars(bars, labels, _("1 − SSIM"))
    return Chart(svg, said(_("Bars from zero: how far the mean SSIM is from 1, by format and model."), bars))
