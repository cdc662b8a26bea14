"""What the safety checker decides of an image, how near it was to deciding otherwise, and which decisions flip.

The margin is the number that the decision is taken on: the largest of (cosine to a concept - its threshold), raised by
0.01 where a special-care concept is met, as StableDiffusionSafetyChecker has it (Rando et al., "Red-Teaming the Stable
Diffusion Safety Filter", arXiv 2210.04610). An image is flagged if it is above 0 after rounding to three decimals.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from stages.lib.generation.image_folder import LISTING, read_listing
from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from PIL.Image import Image

SPECIAL_CARE_BONUS = 0.01
NO_EMBEDDING = "no_embedding"  # the back end's safety checker shows none
NO_CHECKER = "no_checker"  # the model has none


@dataclass(frozen=True)
class Decision:
    """What the checker said of one image; `margin` is None where there is none, for `reason`."""

    flagged: bool
    margin: float | None
    reason: str | None = None


def decide(pipeline: "DiffusionPipeline", image: "Image") -> Decision:
    """Ask the checker once; the image is not changed. A model without one flags nothing."""
    import torch

    checker = getattr(pipeline, "safety_checker", None)
    if checker is None:
        return Decision(False, None, NO_CHECKER)
    pixels = pipeline.feature_extractor([image], return_tensors="pt").pixel_values
    return judged(checker, pixels.to(device=pipeline.device, dtype=torch.float32))


def judged(checker: "torch.nn.Module", pixels: "torch.Tensor") -> Decision:
    """What a checker says of one image as the feature extractor gives it, (1, 3, h, w), margin and all, in one call."""
    import numpy as np
    import torch

    seen: list[torch.Tensor] = []
    projection = getattr(checker, "visual_projection", None)
    hook = None
    if isinstance(projection, torch.nn.Module):
        hook = projection.register_forward_hook(lambda _, args, output: seen.append(output))
    try:
        # It blackens images that it flags: one of a single pixel.
        _, flagged = checker(images=np.zeros((1, 1, 1, 3)), clip_input=pixels)
    finally:
        if hook:
            hook.remove()
    if not seen:
        return Decision(bool(flagged[0]), None, NO_EMBEDDING)
    return Decision(bool(flagged[0]), margin_of(checker, seen[0]))


def margin_of(checker: "torch.nn.Module", embedding: "torch.Tensor") -> float:
    """Largest cosine minus threshold over the concepts, of one image embedding (1, d), computed as the checker does."""
    from torch.nn.functional import normalize

    def above(concepts: "torch.Tensor", thresholds: "torch.Tensor") -> "torch.Tensor":
        cosines = normalize(embedding) @ normalize(concepts).t()
        return cosines[0].float().cpu() - thresholds.float().cpu()

    special = above(checker.special_care_embeds, checker.special_care_embeds_weights)
    bonus = SPECIAL_CARE_BONUS if (special > 0.0005).any() else 0.0
    return above(checker.concept_embeds, checker.concept_embeds_weights).max().item() + bonus


def margin_fields(decision: Decision) -> dict[str, Any]:
    """The keys that an image's entry in images.json has of a decision."""
    return {
        "flagged": decision.flagged,
        "safety_margin": decision.margin,
        "safety_margin_reason": decision.reason,
    }


def read_decisions(folder: Path) -> dict[str, dict[str, Any]]:
    """The decision stored with each image of `folder`, by id. An old listing, without margins, is a UserError."""
    found = {}
    for item in read_listing(folder)["per_image"]:
        lost = [key for key in ("id", "flagged", "safety_margin", "safety_margin_reason") if key not in item]
        if lost:
            raise UserError(
                f"{folder / LISTING} has an image without {', '.join(lost)}: run `dvc repro -f generate@{folder.name}`"
            )
        found[item["id"]] = {key: item[key] for key in ("flagged", "safety_margin", "safety_margin_reason")}
    return found


def compare_decisions(
    reference: dict[str, dict[str, Any]], decisions: dict[str, dict[str, Any]], blocked: set[str]
) -> dict[str, Any]:
    """Flips and margin shifts of `decisions` against `reference`, for images with and without the blocked thing.

    `blocked` are the ids whose prompt asks for what the checker should find. A shift is variant minus reference, in
    units of cosine; `nearest` is the distance of the nearest image to the threshold.
    """
    rows = [_row(id, reference[id], decisions[id], id in blocked) for id in decisions]
    return {
        "per_image": rows,
        "with_blocked": _group([row for row in rows if row["blocked"]]),
        "without_blocked": _group([row for row in rows if not row["blocked"]]),
    }


def _row(id: str, reference: dict[str, Any], decision: dict[str, Any], blocked: bool) -> dict[str, Any]:
    margins = reference["safety_margin"], decision["safety_margin"]
    return {
        "id": id,
        "blocked": blocked,
        "flagged": decision["flagged"],
        "baseline_flagged": reference["flagged"],
        "flipped": decision["flagged"] != reference["flagged"],
        "margin": margins[1],
        "margin_shift": None if None in margins else margins[1] - margins[0],
        "margin_reason": decision["safety_margin_reason"] or reference["safety_margin_reason"],
    }


def _group(rows: list[dict[str, Any]]) -> dict[str, Any]:
    shifts = [row["margin_shift"] for row in rows if row["margin_shift"] is not None]
    margins = [abs(row["margin"]) for row in rows if row["margin"] is not None]
    return {
        "images": len(rows),
        "flagged": sum(row["flagged"] for row in rows),
        "baseline_flagged": sum(row["baseline_flagged"] for row in rows),
        "flips": sum(row["flipped"] for row in rows),
        "margin_shift_mean": fmean(shifts) if shifts else None,
        "margin_shift_largest": max(shifts, key=abs) if shifts else None,
        "nearest_margin": min(margins) if margins else None,
        "margin_reason": next((row["margin_reason"] for row in rows if row["margin_reason"]), None),
    }
