"""What the study reported beside what is measured here, table by table, each line with a computed verdict, and all else
that the report's templates need of the study.

Where this report's model or machine is another one than the study's, absolute figures are not compared: sizes are held
against the exact ones of Stable Diffusion v1.5, and ratios (compression, speed-up, overhead, ranks) against measured
ratios. What arithmetic forbids comes first: it needs no measurement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.files import read_json
from stages.lib.project.params import Params, Variant
from stages.lib.reporting.languages import Language
from stages.lib.reporting.outline import STUDY_TABLES
from stages.lib.reporting.page import Subject
from stages.lib.reporting.recommendations import Advice
from stages.lib.results.machines import Machine
from stages.lib.results.other_models import ComparedModel
from stages.lib.study import beside_figures, beside_quality, beside_recommendations, beside_setup, outlooks
from stages.lib.study.audit import audit
from stages.lib.study.formulas import study_formulas
from stages.lib.study.sources import Line, Sources

Build = Callable[[Sources], list[Line]]


def study_values(
    folder: Path, subject: Subject, recommended: Mapping[str, Variant | None], language: Language
) -> dict[str, Any]:
    """`folder` holds the study's data; `recommended` has this report's format for each scenario of Table 12."""
    _ = language.translations.gettext
    findings = audit(folder, _)
    sources = Sources(
        printed=read_json(folder / "printed.json"),
        exact=read_json(folder / "stable_diffusion_v1_5.json"),
        findings={finding.key: finding for finding in findings},
        params=subject.params,
        results=subject.results,
        prompts=tuple(subject.prompts),
        machines=subject.machines,
        language=language.code,
        recommended=dict(recommended),
        _=_,
        others=tuple(model for model in subject.others if isinstance(model, ComparedModel)),
    )
    return {
        "audit": findings,
        "study_beside": blocks(sources),
        "study_recommended": {key: sources.said(row["format"]) for key, row in sources.printed["table_12"].items()},
        "study_formulas": study_formulas(sources.exact, _),
        "study_directions": outlooks.directions(sources),
        "study_prospects": outlooks.prospects(sources),
    }


def recommended_variants(
    advice: Sequence[Advice], params: Params, machines: Sequence[Machine]
) -> dict[str, Variant | None]:
    """The variant of each scenario's advice, which another machine may have measured."""
    known = {item.variant.name: item.variant for machine in machines for m in machine.models for item in m.variants}
    known |= params.variants
    return {item.key: known.get(item.decision.winner.name) for item in advice if item.decision.winner}


@dataclass(frozen=True)
class Block:
    """What stands under one table. `number` is that of the study's table."""

    number: int
    lines: tuple[Line, ...]
    note: str


def blocks(sources: Sources) -> dict[str, Block]:
    """A block for each measured table of the study by its key in `outline.STUDY_TABLES`."""
    return {
        key: Block(STUDY_TABLES.index(key) + 1, tuple(build(sources)), _note(key, sources))
        for key, build in BUILDERS.items()
        if sources.results.illustrated or key not in OF_IMAGES
    }


def _note(key: str, sources: Sources) -> str:
    """The order of the values in a line, and what can be compared at all."""
    _ = sources._
    orders = {
        "prompts": _("Kind, complexity, seed."),
        "sizes": _("FP32 / FP16 / INT8; parameters."),
        "overhead": _("FP32 / FP16 / INT8."),
        "performance": _("Time; speed-up. GPU / CPU memory, here the peak of generation."),
        "quality": _("PSNR; SSIM; rating."),
        "kinds": _("FP32 → FP16 / FP32 → INT8 / FP16 → INT8; here the PSNR of the two, INT8 CPU being the INT8."),
        "components": _("Effect of FP16; of INT8; criticality."),
        "tradeoff": _("Compression; quality; speed → efficiency. Here: compression; speed-up."),
        "costs": _("Cost; throughput → return. Here: speed-up."),
    }
    return " ".join(text for text in (orders.get(key, ""), _comparable(key, sources)) if text)


def _comparable(key: str, sources: Sources) -> str:
    _ = sources._
    if key in ("sizes", "overhead"):
        return _(
            "Here: parameters of Stable Diffusion v1.5 times 4, 2 and 1 bytes, exactly; compression, overhead and "
            "efficiency as measured of FP32, FP16 and INT8 CPU. A size below parameters times bytes is impossible."
        )
    if key not in ("machine", "formats", "prompts") and not sources.comparable:
        return _(
            "%(model)s on %(gpu)s there, %(own)s on %(machine)s here: absolute figures are not comparable, so verdicts "
            "compare ratios, ranks and words."
        ) % {
            "model": sources.printed["model"],
            "gpu": sources.printed["table_1"]["gpu"],
            "own": sources.model_label,
            "machine": sources.machine,
        }
    return ""


OF_IMAGES = {"prompts", "quality", "kinds", "appearance", "components"}
BUILDERS: dict[str, Build] = {
    "machine": beside_setup.machine,
    "formats": beside_setup.formats,
    "prompts": beside_setup.prompts,
    "sizes": beside_figures.sizes,
    "overhead": beside_figures.overhead,
    "performance": beside_figures.performance,
    "quality": beside_quality.quality,
    "kinds": beside_quality.kinds,
    "appearance": beside_quality.appearance,
    "tradeoff": beside_recommendations.tradeoff,
    "components": beside_quality.components,
    "recommendations": beside_recommendations.recommendations,
    "costs": beside_recommendations.costs,
}
