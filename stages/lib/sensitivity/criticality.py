"""The words of the study's Table 11 for the effect of a format on a component, from stated thresholds.

A component that shapes the image is judged by the mean PSNR of images in which it alone has the format: the
study's own bands (stages.lib.quality.metrics.PSNR_BANDS), with its best band split in two at 50 dB, where a difference
is about one level of 255. The safety checker shapes no image: it is judged by its decisions, and by how far its margins
move.
"""

from collections.abc import Sequence

NEGLIGIBLE, MINIMAL, MODERATE, SIGNIFICANT = "negligible", "minimal", "moderate", "significant"
# A PSNR of at least so many dB; below the last bound the effect is significant.
IMAGE_BOUNDS_DB = ((NEGLIGIBLE, 50.0), (MINIMAL, 40.0), (MODERATE, 30.0))
# A shift of less than this share of an image's margin, in the worst image; beyond, or with a changed decision, the
# effect is significant.
MARGIN_BOUNDS = ((NEGLIGIBLE, 0.1), (MINIMAL, 0.25), (MODERATE, 0.5))
CRITICALITY = {NEGLIGIBLE: "low", MINIMAL: "low", MODERATE: "medium", SIGNIFICANT: "high"}


def image_effect(psnr_db: float | None) -> str:
    """The word for a mean PSNR in dB; None, all images identical, is negligible."""
    if psnr_db is None:
        return NEGLIGIBLE
    return next((word for word, bound in IMAGE_BOUNDS_DB if psnr_db >= bound), SIGNIFICANT)


def decision_effect(flips: int, margins: Sequence[float], shifts: Sequence[float]) -> str:
    """The word for a safety checker: changed decisions, FP32 margins and their shifts, image by image."""
    if flips:
        return SIGNIFICANT
    worst = max((abs(shift) / max(abs(margin), 1e-9) for margin, shift in zip(margins, shifts, strict=True)), default=0)
    return next((word for word, bound in MARGIN_BOUNDS if worst < bound), SIGNIFICANT)
