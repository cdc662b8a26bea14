"""What the study reported beside what is measured here, table by table, each line with a computed verdict.

Where this report's model or machine is another one than the study's, absolute figures are not compared: sizes are held
against the exact ones of Stable Diffusion v1.5, and ratios (compression, speed-up, overhead, ranks) against measured
ratios. What arithmetic forbids comes first: it needs no measurement.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stages.lib.reporting.outline import STUDY_TABLES
from stages.lib.study import beside_quality, beside_recommendations, beside_setup, beside_sizes, beside_speed
from stages.lib.study.sources import Line, Sources

Build = Callable[[Sources], list[Line]]


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
    "sizes": beside_sizes.sizes,
    "overhead": beside_sizes.overhead,
    "performance": beside_speed.performance,
    "quality": beside_quality.quality,
    "kinds": beside_quality.kinds,
    "appearance": beside_quality.appearance,
    "tradeoff": beside_recommendations.tradeoff,
    "components": beside_quality.components,
    "recommendations": beside_recommendations.recommendations,
    "costs": beside_recommendations.costs,
}
