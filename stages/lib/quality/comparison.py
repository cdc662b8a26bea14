"""How the images of two variants compare: PSNR and SSIM of each pair, and their averages."""

from dataclasses import dataclass

import numpy as np

from stages.lib.generation.image_folder import StoredImage
from stages.lib.project.errors import UserError
from stages.lib.project.measurement import Measurement
from stages.lib.quality.full_reference import Prepared, ssim_of
from stages.lib.quality.metrics import psnr_db

SMALLEST_SIDE = 11  # pixels: the window of SSIM


@dataclass(frozen=True)
class Comparison:
    """An image against its reference. `psnr_db` is None if they are identical."""

    id: str
    psnr_db: float | None
    ssim: float

    @property
    def identical(self) -> bool:
        """Equal in every pixel."""
        return self.psnr_db is None


def compare(reference: StoredImage, image: StoredImage, prepared: tuple[Prepared, Prepared]) -> Comparison:
    """PSNR and SSIM of `image` against `reference`; `prepared` holds their pixels in that order."""
    check_sizes(reference, image, (prepared[0].rgb, prepared[1].rgb))
    psnr = psnr_db(prepared[0].rgb, prepared[1].rgb)
    return Comparison(image.id, psnr, 1.0 if psnr is None else ssim_of(*prepared))


def check_sizes(reference: StoredImage, image: StoredImage, rgb: tuple[np.ndarray, np.ndarray]) -> None:
    """UserError where two images differ in size, or are too small for SSIM's window."""
    sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in rgb]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{reference.path} has {sizes[0]} pixels and {image.path} has {sizes[1]}: run `dvc repro generate`"
        )
    if min(rgb[0].shape[:2]) < SMALLEST_SIDE:
        raise UserError(
            f"{reference.path} has {sizes[0]} pixels: SSIM needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )


def average(comparisons: list[Comparison]) -> dict:
    """Means and spreads over images, not over pixels. PSNR is over those not identical, None if all are."""
    psnrs = tuple(comparison.psnr_db for comparison in comparisons if not comparison.identical)
    psnr = Measurement("dB", psnrs) if psnrs else None
    similarity = Measurement("", tuple(comparison.ssim for comparison in comparisons))
    return {
        "images": len(comparisons),
        "identical": len(comparisons) - len(psnrs),
        "psnr_db": psnr and psnr.mean,
        "psnr_db_std": psnr and psnr.std,
        "ssim": similarity.mean,
        "ssim_std": similarity.std,
    }
