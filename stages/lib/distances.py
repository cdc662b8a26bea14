"""How far apart are two pictures? Measures of one pair, each with the settings of its paper.

SSIM here gives the same numbers as scikit-image's (stages/lib/metrics.py) and shares its filtering with MS-SSIM.
"""

from dataclasses import dataclass

import numpy as np

from stages.lib.metrics import MAXIMUM, psnr_db

SIGMA, RADIUS = 1.5, 5  # the Gaussian window of SSIM, 11 wide
C1, C2 = (0.01 * MAXIMUM) ** 2, (0.03 * MAXIMUM) ** 2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST_SIDE = (2 * RADIUS + 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1)  # 176 pixels
GMSD_C = 170.0
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Distances:
    """A picture against its reference. `psnr_db` is None if they are identical, `ms_ssim` if they are too small."""

    psnr_db: float | None
    ssim: float
    ms_ssim: float | None
    ciede2000: float
    ciede2000_p95: float
    gmsd: float


def distances(reference: np.ndarray, picture: np.ndarray) -> Distances:
    """All measures of two uint8 pictures (H, W, 3) of the same size, at least 11 x 11."""
    colour = ciede2000(reference, picture)
    first, last = ssim_of_scales(reference, picture)
    return Distances(
        psnr_db=psnr_db(reference, picture),
        ssim=first,
        ms_ssim=last,
        ciede2000=float(colour.mean()),
        ciede2000_p95=float(np.percentile(colour, 95)),
        gmsd=gmsd(reference, picture),
    )


def ssim_of_scales(reference: np.ndarray, picture: np.ndarray) -> tuple[float, float | None]:
    """SSIM and multi-scale SSIM, each -1 to 1; the second is None if the shorter side is below 176 pixels.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003: five
    scales, each half of the one before, per colour channel and averaged; a negative contrast term counts as 0.
    """
    x, y = (np.moveaxis(rgb, 2, 0).astype(np.float64) for rgb in (reference, picture))
    luminance, contrast = _ssim_terms(x, y)
    whole = float((luminance * contrast).mean())
    if min(reference.shape[:2]) < MS_SSIM_SMALLEST_SIDE:
        return whole, None
    product = np.ones(len(x))
    for number, weight in enumerate(MS_SSIM_WEIGHTS):
        if number:
            x, y = _halved(x), _halved(y)
            luminance, contrast = _ssim_terms(x, y)
        last = number == len(MS_SSIM_WEIGHTS) - 1
        term = (luminance * contrast if last else contrast).mean(axis=(1, 2))
        product *= np.maximum(term, 0) ** weight
    return whole, float(product.mean())


def _ssim_terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure terms of channels (c, h, w) where the whole window fits in."""
    mean_x, mean_y = _blurred(x), _blurred(y)
    variances = _blurred(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


def _blurred(channels: np.ndarray) -> np.ndarray:
    """Gaussian means of (c, h, w) where the whole window fits in: (c, h - 10, w - 10). Two matrix products."""
    height, width = channels.shape[1:]
    return _window_matrix(height) @ channels @ _window_matrix(width).T


_WINDOWS: dict[int, np.ndarray] = {}


def _window_matrix(side: int) -> np.ndarray:
    """(side - 10, side): each row weighs 11 neighbours by the Gaussian window, which adds up to 1."""
    if side not in _WINDOWS:
        weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
        matrix = np.zeros((side - 2 * RADIUS, side))
        for row in range(len(matrix)):
            matrix[row, row : row + 2 * RADIUS + 1] = weights / weights.sum()
        _WINDOWS[side] = matrix
    return _WINDOWS[side]


def _halved(channels: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of (c, h, w); an odd last row or column is left out."""
    count, height, width = channels.shape
    even = channels[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def ciede2000(reference: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Colour difference of every pixel, (H, W): about 1 is just noticeable. scikit-image's, D65, 2 degree observer.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30, 2005.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    found = np.zeros(reference.shape[:2])
    differs = (reference != picture).any(axis=2)  # equal colours are 0 apart: only the others are computed
    if differs.any():
        found[differs] = deltaE_ciede2000(rgb2lab(reference[differs]), rgb2lab(picture[differs]))
    return found


def gmsd(reference: np.ndarray, picture: np.ndarray) -> float:
    """Gradient magnitude similarity deviation, 0 (equal gradients) and up, of the luminance.

    Xue, Zhang, Mou and Bovik, IEEE TIP 23(2), 2014: Prewitt gradients of the picture at half size, c = 170.
    """
    first, second = (_gradients(_halved((rgb @ LUMINANCE)[None])[0]) for rgb in (reference, picture))
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
