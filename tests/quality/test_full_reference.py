"""Distances: nothing between equal images, more with more damage, and the numbers of the reference libraries."""

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from stages.lib.quality import metrics
from stages.lib.quality.full_reference import (
    LUMINANCE,
    MS_SSIM_WEIGHTS,
    Prepared,
    ciede2000,
    distances,
    gmsd,
    ms_ssim_of,
    ssim_of,
)


def image(side: int = 192, width: int | None = None) -> np.ndarray:
    """Waves, an edge and grain."""
    rows, columns = np.mgrid[0:side, 0 : width or side]
    grey = 120 + 60 * np.sin(rows / 9) + 40 * (columns > side / 2)
    rgb = np.stack([grey, grey * 0.8 + 20, 255 - grey], 2) + np.random.default_rng(0).normal(0, 6, (*grey.shape, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def noisy(rgb: np.ndarray, deviation: float) -> np.ndarray:
    return np.clip(rgb + np.random.default_rng(1).normal(0, deviation, rgb.shape), 0, 255).astype(np.uint8)


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(rgb.astype(float), (sigma, sigma, 0)).astype(np.uint8)


DAMAGE = {
    "noise": lambda rgb, level: noisy(rgb, 5 * level),
    "blur": lambda rgb, level: blurred(rgb, 0.7 * level),
    "tint": lambda rgb, level: np.clip(rgb + np.array([6 * level, 0, -6 * level]), 0, 255).astype(np.uint8),
}


def test_equal_images_are_no_distance_apart():
    found = distances(Prepared(image()), Prepared(image()))
    assert (found.psnr_db, found.ciede2000, found.ciede2000_p95, found.gmsd) == (None, 0, 0, 0)
    assert found.ssim == pytest.approx(1, abs=1e-12) and found.ms_ssim == pytest.approx(1, abs=1e-12)


def test_the_order_of_the_two_does_not_matter():
    one, other = Prepared(image()), Prepared(blurred(noisy(image(), 20), 1))
    forth, back = distances(one, other), distances(other, one)
    for key in ("psnr_db", "ssim", "ms_ssim", "gmsd"):
        assert getattr(forth, key) == pytest.approx(getattr(back, key), rel=1e-9), key
    assert forth.ciede2000 == pytest.approx(back.ciede2000, rel=1e-6)  # CIEDE2000 is symmetric


@pytest.mark.parametrize("kind", DAMAGE)
def test_more_damage_is_more_distance(kind):
    """Protects the direction of every measure; a tint leaves gradients nearly alone and is for colour to find."""
    found = [distances(Prepared(image()), Prepared(DAMAGE[kind](image(), level))) for level in (1, 2, 3)]
    falling = ["psnr_db"] if kind == "tint" else ["psnr_db", "ssim", "ms_ssim"]
    rising = ["ciede2000", "ciede2000_p95"] if kind == "tint" else ["ciede2000", "ciede2000_p95", "gmsd"]
    for keys, sign in ((falling, -1), (rising, 1)):
        for key in keys:
            values = [sign * getattr(item, key) for item in found]
            assert values == sorted(values) and values[0] < values[2], key


@pytest.mark.parametrize("shape", [(64, 64), (11, 40), (150, 97), (256, 256)])
def test_ssim_is_scikit_images(shape):
    """Protects the banded filter, whatever the size of the image."""
    from skimage.metrics import structural_similarity

    one, window = image(*shape), {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for other in (noisy(one, 15), blurred(one, 2), 255 - one):
        theirs = structural_similarity(one, other, data_range=255, channel_axis=2, **window)
        assert ssim_of(Prepared(one), Prepared(other)) == pytest.approx(theirs, abs=1e-9)


def test_psnr_is_scikit_images():
    from skimage.metrics import peak_signal_noise_ratio

    one = image(50)
    for other in (noisy(one, 3), 255 - one):
        assert metrics.psnr_db(one, other) == pytest.approx(peak_signal_noise_ratio(one, other), abs=1e-9)


def test_ciede2000_is_scikit_images_and_published():
    """Protects units and white point; the pairs are from Sharma's test data, the shortcut for equal pixels is none."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    one, other = image(40), noisy(image(40), 4)
    expected = deltaE_ciede2000(rgb2lab(one), rgb2lab(other))
    assert np.abs(ciede2000(one, other) - expected).max() < 1e-6
    assert deltaE_ciede2000([50, 2.6772, -79.7751], [50, 0, -82.7485]) == pytest.approx(2.0425, abs=1e-4)
    assert deltaE_ciede2000([50, 2.5, 0], [73, 25, -18]) == pytest.approx(27.1492, abs=1e-4)


def test_ms_ssim_is_the_papers_written_out_with_scipy():
    """Protects weights, halving and windows: an independent implementation with scipy's filters, to 1e-6."""
    one, other = image(197, 260), blurred(noisy(image(197, 260), 12), 0.8)
    values = []
    for channel in range(3):
        x, y, value = one[..., channel].astype(float), other[..., channel].astype(float), 1.0
        for number, weight in enumerate(MS_SSIM_WEIGHTS):
            mean = lambda z: gaussian_filter(z, 1.5, truncate=3.5)[5:-5, 5:-5]  # noqa: E731
            mx, my = mean(x), mean(y)
            contrast = (2 * (mean(x * y) - mx * my) + 58.5225) / (mean(x * x) - mx**2 + mean(y * y) - my**2 + 58.5225)
            luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            value *= (contrast if number < 4 else luminance * contrast).mean() ** weight
            height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x, y = (z[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for z in (x, y))
        values.append(value)
    assert ms_ssim_of(Prepared(one), Prepared(other)) == pytest.approx(np.mean(values), abs=1e-6)


def test_ms_ssim_of_a_small_image_is_not_measured():
    small = image(175, 300)
    assert ms_ssim_of(Prepared(small), Prepared(noisy(small, 5))) is None
    assert distances(Prepared(small), Prepared(noisy(small, 5))).ms_ssim is None


def test_gmsd_is_the_authors_written_out_with_scipy():
    one, other = image(64), blurred(image(64), 1.2)
    kernel, gradients = np.array([[1, 0, -1]] * 3) / 3, []
    for rgb in (one, other):
        grey = (rgb @ LUMINANCE).reshape(32, 2, 32, 2).mean((1, 3))
        parts = [convolve(grey, part, mode="constant") for part in (kernel, kernel.T)]
        gradients.append(np.hypot(*parts))
    similarity = (2 * gradients[0] * gradients[1] + 170) / (gradients[0] ** 2 + gradients[1] ** 2 + 170)
    assert gmsd(one, other) == pytest.approx(similarity.std(), abs=1e-9)


def test_a_flat_offset_has_closed_forms():
    """Protects against a wrong constant: two flat greys differ by luminance alone, and have equal gradients inside."""
    one, other = (np.full((32, 32, 3), value, np.uint8) for value in (100, 110))
    expected = (2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025)
    assert ssim_of(Prepared(one), Prepared(other)) == pytest.approx(expected, abs=1e-12)
