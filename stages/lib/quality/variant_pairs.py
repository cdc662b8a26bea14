"""Is one format closer to the baseline than another? Every two formats, compared image by image."""

from dataclasses import asdict
from itertools import combinations

import numpy as np

from stages.lib.project.sections import Quality
from stages.lib.quality.statistics import compare_paired

COMPARED = ("psnr_db", "ssim", "clip_score")


def compare_variants(qualities: dict[str, dict], settings: Quality) -> list[dict]:
    """For every two variants, by measure, the mean difference `variant` minus `reference` and what follows from it.

    `qualities` maps names to reports of reports/M/quality, all of the same images. Differences are of each image's
    distance to the baseline (PSNR, SSIM) or of its CLIP score. A measure that an image lacks in either variant (the
    PSNR of identical images) leaves that image out; None where all are left out.
    """
    names = list(combinations(qualities, 2))
    values = {
        name: {row["id"]: [row[key] for key in COMPARED] for row in report["per_image"]}
        for name, report in qualities.items()
    }
    found: list[dict] = [{"reference": reference, "variant": variant} for reference, variant in names]
    for number, key in enumerate(COMPARED):
        differences = [_differences(values[reference], values[variant], number) for reference, variant in names]
        for entry in found:
            entry[key] = None
        for length in sorted({len(row) for row in differences} - {0}):
            chosen = [index for index, row in enumerate(differences) if len(row) == length]
            rows = np.array([differences[index] for index in chosen])
            margin = getattr(settings.margins, key)
            compared = compare_paired(rows, margin, settings.resamples, settings.seed)
            for index, item in zip(chosen, compared, strict=True):
                found[index][key] = asdict(item)
    return found


def _differences(reference: dict[str, list], variant: dict[str, list], number: int) -> list[float]:
    """Measure `number` of the variant minus that of the reference, of the images that have both."""
    both = ((row[number], reference[id][number]) for id, row in variant.items())
    return [new - old for new, old in both if new is not None and old is not None]
