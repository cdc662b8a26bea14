"""How far apart are two images? Measures of one pair, each with the settings of its paper.

SSIM has the settings of its paper (Gaussian window of sigma 1.5, population covariance), which are not scikit-image's
defaults, and shares its filtering with MS-SSIM.
"""

from dataclasses import dataclass

import numpy as np

from stages.lib.quality.metrics import MAXIMUM, psnr_db

SIGMA, RADIUS = 1.5, 5  # the Gaussian window of SSIM, 11 wide
C1, C2 = (0.01 * MAXIMUM) ** 2, (0.03 * MAXIMUM) ** 2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST_SIDE = (2 * RADIUS + 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1)  # 176 pixels
GMSD_C = 170.0
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Distances:
    """An image against its reference. `psnr_db` is None if they are identical, `ms_ssim` if they are too small."""

    psnr_db: float | None
    ssim: float
    ms_ssim: float | None
    ciede2000: float
    ciede2000_p95: float
    gmsd: float


class Prepared:
    """A uint8 image (H, W, 3) with what SSIM needs of it whatever it is compared with, computed once."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.rgb = rgb
        self.channels = np.ascontiguousarray(np.moveaxis(rgb, 2, 0), np.float64)
        self.moments = _moments(self.channels)


def keep_freed_memory() -> None:
    """Have this process keep what it frees for the next use: a third less time for images compared with many others.

    Arrays of some hundred KiB are taken and freed all the time. glibc gives back to the system what is larger than the
    largest block that was ever freed, of up to 32 MiB: one is freed here, which nothing was written to.
    """
    np.empty(31 * 2**20, np.uint8)


def distances(reference: Prepared, image: Prepared) -> Distances:
    """All measures of two images of the same size, at least 11 x 11."""
    colour = ciede2000(reference.rgb, image.rgb)
    return Distances(
        psnr_db=psnr_db(reference.rgb, image.rgb),
        ssim=ssim_of(reference, image),
        ms_ssim=ms_ssim_of(reference, image),
        ciede2000=float(colour.mean()),
        ciede2000_p95=float(np.percentile(colour, 95)),
        gmsd=gmsd(reference.rgb, image.rgb),
    )


def ssim_of(reference: Prepared, image: Prepared) -> float:
    """Mean structural similarity, -1 to 1, per colour channel and averaged: Wang et al., IEEE TIP 13(4), 2004."""
    luminance, contrast = _ssim_terms(reference.channels, image.channels, reference.moments, image.moments)
    return float((luminance * contrast).mean())


def ms_ssim_of(reference: Prepared, image: Prepared) -> float | None:
    """Multi-scale SSIM, 0 to 1; None if the shorter side is below 176 pixels.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003: five
    scales, each half of the one before, per colour channel and averaged; a negative contrast term counts as 0.
    """
    if min(reference.rgb.shape[:2]) < MS_SSIM_SMALLEST_SIDE:
        return None
    x, y, moments = reference.channels, image.channels, (reference.moments, image.moments)
    product = np.ones(len(x))
    for number, weight in enumerate(MS_SSIM_WEIGHTS, 1):
        luminance, contrast = _ssim_terms(x, y, *moments)
        term = luminance * contrast if number == len(MS_SSIM_WEIGHTS) else contrast
        product *= np.maximum(term.mean(axis=(1, 2)), 0) ** weight
        x, y = _halved(x), _halved(y)
        if number < len(MS_SSIM_WEIGHTS):
            moments = _moments(x), _moments(y)
    return float(product.mean())


Moments = tuple[np.ndarray, np.ndarray]  # mean and variance around each pixel, (c, h - 10, w - 10)


def _moments(channels: np.ndarray) -> Moments:
    mean = _blurred(channels)
    return mean, _blurred(channels * channels) - mean * mean


def _ssim_terms(x: np.ndarray, y: np.ndarray, of_x: Moments, of_y: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure terms of channels (c, h, w) where the whole window fits in."""
    (mean_x, variance_x), (mean_y, variance_y) = of_x, of_y
    product = mean_x * mean_y
    luminance = (2 * product + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    contrast = (2 * (_blurred(x * y) - product) + C2) / (variance_x + variance_y + C2)
    return luminance, contrast


def _blurred(channels: np.ndarray) -> np.ndarray:
    """Gaussian means of (c, h, w) where the whole window fits in: (c, h - 10, w - 10)."""
    return _blurred_rows(_blurred_rows(channels).swapaxes(1, 2)).swapaxes(1, 2)


def _blurred_rows(channels: np.ndarray) -> np.ndarray:
    """(c, h - 10, w): each row the Gaussian mean of 11. A matrix product per band of rows, which is fastest."""
    parts = []
    for start in range(0, channels.shape[1] - 2 * RADIUS, BAND):
        band = channels[:, start : start + BAND + 2 * RADIUS]
        parts.append(_WINDOW[: band.shape[1] - 2 * RADIUS, : band.shape[1]] @ band)
    return np.concatenate(parts, axis=1)


def _window_matrix() -> np.ndarray:
    """(BAND, BAND + 10): each row weighs 11 neighbours by the Gaussian window, which adds up to 1."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    matrix = np.zeros((BAND, BAND + 2 * RADIUS))
    for row in range(BAND):
        matrix[row, row : row + 2 * RADIUS + 1] = weights / weights.sum()
    return matrix


BAND = 64
_WINDOW = _window_matrix()


def _halved(channels: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of (c, h, w); an odd last row or column is left out."""
    count, height, width = channels.shape
    even = channels[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def ciede2000(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Colour difference of every pixel, (H, W): about 1 is just noticeable. scikit-image's, D65, 2 degree observer.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30, 2005.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    found = np.zeros(reference.shape[:2])
    differs = (reference != image).any(axis=2)  # equal colours are 0 apart: only the others are computed
    if differs.any():
        found[differs] = deltaE_ciede2000(rgb2lab(reference[differs]), rgb2lab(image[differs]))
    return found


def gmsd(reference: np.ndarray, image: np.ndarray) -> float:
    """Gradient magnitude similarity deviation, 0 (equal gradients) and up, of the luminance.

    Xue, Zhang, Mou and Bovik, IEEE TIP 23(2), 2014: Prewitt gradients of the image at half size, c = 170.
    """
    first, second = (_gradients(_halved((rgb @ LUMINANCE)[None])[0]) for rgb in (reference, image))
    similarity = (2 * first * second + GMSD_C) / (first**2 + second**2 + GMSD_C)
    return float(similarity.std())


def _gradients(grey: np.ndarray) -> np.ndarray:
    """Prewitt gradient magnitude of (h, w), pixels beyond the edge counting as 0, as the authors' code has it."""
    padded = np.pad(grey, 1)
    columns = padded[:-2] + padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    horizontal = (columns[:, :-2] - columns[:, 2:]) / 3
    vertical = (rows[:-2] - rows[2:]) / 3
    return np.sqrt(horizontal**2 + vertical**2)
