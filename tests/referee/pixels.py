"""Figures of images, from their papers' formulas with numpy, scikit-image and scipy alone."""

import numpy as np
from scipy import ndimage, signal
from skimage import color, measure, metrics, transform

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def distances(a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
    """Of two uint8 images (H, W, 3): what quality/V.json gives of each, but for features and learned measures."""
    identical = np.array_equal(a, b)
    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    difference = color.deltaE_ciede2000(color.rgb2lab(a), color.rgb2lab(b))
    return {
        "psnr_db": None if identical else metrics.peak_signal_noise_ratio(a, b, data_range=255),
        "ssim": metrics.structural_similarity(a, b, data_range=255, **options),
        "ms_ssim": _ms_ssim(a.astype(float), b.astype(float)),
        "ciede2000": difference.mean(),
        "ciede2000_p95": np.percentile(difference, 95),
        "gmsd": _gmsd(a, b),
    }


def _ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Wang, Simoncelli and Bovik 2003: contrast at five scales, luminance at the last, per channel."""
    if min(a.shape[:2]) < 176:
        return None

    def inside(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, (1.5, 1.5, 0), truncate=3.5)[5:-5, 5:-5]

    product = np.ones(3)
    for scale, weight in enumerate(WEIGHTS):
        ma, mb = inside(a), inside(b)
        va, vb, cov = inside(a * a) - ma**2, inside(b * b) - mb**2, inside(a * b) - ma * mb
        term = (2 * cov + 58.5225) / (va + vb + 58.5225)
        if scale == 4:
            term = term * (2 * ma * mb + 6.5025) / (ma**2 + mb**2 + 6.5025)
        product *= np.maximum(term.mean(axis=(0, 1)), 0) ** weight
        a, b = _half(a), _half(b)
    return product.mean()


def _half(x: np.ndarray) -> np.ndarray:
    even = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return transform.downscale_local_mean(even, (2, 2) if x.ndim == 2 else (2, 2, 1))


def _gmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Xue et al. 2014: Prewitt gradients of the luminance at half size."""
    first, second = (
        np.hypot(*(ndimage.prewitt(grey, axis, mode="constant") / 3 for axis in (0, 1)))
        for grey in (_half(rgb @ (0.299, 0.587, 0.114)) for rgb in (a, b))
    )
    return ((2 * first * second + 170) / (first**2 + second**2 + 170)).std()


def looks(rgb: np.ndarray) -> dict[str, float]:
    """Of one uint8 image: what appearance/V.json gives of each; in single precision, as there."""
    grey = rgb.astype(np.float32) @ np.float32((0.299, 0.587, 0.114))
    lightness, green_red, blue_yellow = color.rgb2lab(rgb[::2, ::2]).mean(axis=(0, 1))
    bands = [_blur(grey, sigma) for sigma in (0.7, 2.0)]
    return {
        "blur": measure.blur_effect(grey, h_size=5),
        "detail_db": 20 * np.log10(((grey - bands[0]).std() + 0.05) / ((bands[0] - bands[1]).std() + 0.05)),
        "posterization_bits": _missing_tones(rgb),
        "noise": _grain(grey),
        "mottling": _mottling(grey),
        "lightness": lightness,
        "green_red": green_red,
        "blue_yellow": blue_yellow,
        "luma_mean": grey.mean(),
        "luma_std": grey.std(),
    }


def _blur(grey: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=3)


def _missing_tones(rgb: np.ndarray) -> float:
    shares = [np.histogram(rgb[..., channel], 256, (0, 256))[0] / rgb[..., 0].size for channel in range(3)]
    smooth = [ndimage.gaussian_filter1d(share, 4, mode="constant") for share in shares]
    return np.mean([measure_of(s / s.sum()) - measure_of(p) for s, p in zip(smooth, shares, strict=True)])


def measure_of(shares: np.ndarray) -> float:
    """Entropy in bits."""
    return -sum(share * np.log2(share) for share in shares if share > 0)


def _grain(grey: np.ndarray) -> float:
    """Immerkaer 1996, in the 30 % of the image with the least slope."""
    mask = np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    second = np.abs(signal.convolve2d(grey, mask, mode="valid"))
    slope = np.hypot(*np.gradient(_blur(grey, 2.0)))[1:-1, 1:-1]
    return np.sqrt(np.pi / 2) * second[slope <= np.quantile(slope, 0.3)].mean() / 6


def _mottling(grey: np.ndarray) -> float:
    energy = ndimage.uniform_filter((_blur(grey, 1.5) - _blur(grey, 5.0)) ** 2, 48, mode="nearest")
    return np.sqrt(energy[energy <= np.quantile(energy, 0.3)].mean())
