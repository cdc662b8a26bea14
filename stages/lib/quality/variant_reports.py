"""What is written of one variant's images: how far they are from the baseline's, and what damage they show."""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.generation.safety import compare_decisions, read_decisions
from stages.lib.generation.step_latents import compare_trajectories, read_trajectories
from stages.lib.project.sections import Quality
from stages.lib.quality.appearance import image_row, is_blank, judge_all, seen
from stages.lib.quality.figures import Features, Pair, distribution, paired_figures
from stages.lib.quality.image_sets import ImageSets, Seen
from stages.lib.quality.metrics import rate_psnr

BLOCKED = "blocked"  # the kind of prompt that asks for what the safety checker should find
CAUSES = ("scene", "flagged", "broken")


def quality_of(
    sets: ImageSets, name: str, prompts: Sequence[Seen], features: Features | None, folder: Path, settings: Quality
) -> dict:
    """quality/V.json without the names: the images of the variant `name` against the baseline's, in `folder`."""
    images = zip(sets.images[sets.baseline].values(), sets.images[name].values(), prompts, strict=True)
    pairs = [
        Pair(reference, image, item.distances[name], item.perceived.get(name)) for reference, image, item in images
    ]
    figures = paired_figures(pairs, features, settings)
    for row, pair in zip(figures["per_image"], pairs, strict=True):
        row |= {"rating": rate_psnr(pair.distances.psnr_db), "flagged": pair.image.flagged}
    trajectories = (read_trajectories(folder / variant) for variant in (sets.baseline, name))
    return {
        **figures,
        "ssim_minimum": min(pair.distances.ssim for pair in pairs),
        "flagged": sum(pair.image.flagged for pair in pairs),
        "baseline_flagged": sum(pair.reference.flagged for pair in pairs),
        "distribution": distribution(features, settings),
        "trajectory": compare_trajectories(*trajectories),
    }


def appearance_of(sets: ImageSets, name: str, prompts: Sequence[Seen], folder: Path) -> dict:
    """appearance/V.json without the names: damage in the images of the variant `name`, and the safety checker's word.

    For each respect in which images can be damaged the mean shift against the baseline with its 99 % interval and its
    grade; the same figures per image; blank images and why they are blank; flips and margin shifts of the checker on
    images with and without the blocked thing.
    """
    images = sets.images[name]
    before, after = ([item.figures[variant] for item in prompts] for variant in (sets.baseline, name))
    judged = judge_all(before, after)
    rows = [
        image_row(image.id, *pair, image.flagged) for image, *pair in zip(images.values(), before, after, strict=True)
    ]
    blocked = {image.id for image in images.values() if image.kind == BLOCKED}
    return {
        "images": len(rows),
        "measures": judged,
        "seen": seen(judged),
        "blank": {cause: sum(row["black"] == cause for row in rows) for cause in CAUSES},
        "baseline_blank": sum(is_blank(figures) for figures in before),
        "per_image": rows,
        "safety": compare_decisions(read_decisions(folder / sets.baseline), read_decisions(folder / name), blocked),
    }
