"""PSNR and SSIM have closed forms, are symmetric and fall as noise grows."""

import math

import numpy as np
import pytest

from stages.lib.quality.full_reference import Prepared, ssim_of
from stages.lib.quality.metrics import METRICS, psnr_db, rate_psnr


def ssim(reference: np.ndarray, image: np.ndarray) -> float:
    return ssim_of(Prepared(reference), Prepared(image))


@pytest.fixture
def image() -> np.ndarray:
    """A smooth image, 48 x 64, whose values leave room for an offset of 100."""
    rows, columns = np.mgrid[0:48, 0:64]
    waves = [60 + 40 * np.sin(rows / 7 + shift) * np.cos(columns / 9) for shift in (0, 1, 2)]
    return np.stack(waves, axis=2).astype(np.uint8)


def noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    """`image` with Gaussian noise of that standard deviation."""
    noise = np.random.default_rng(0).normal(0, deviation, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("offset", [1, 5, 100])
def test_psnr_of_a_constant_offset_is_its_closed_form(image: np.ndarray, offset: int) -> None:
    """Protects the peak (255) and the logarithm of PSNR."""
    assert psnr_db(image, image + np.uint8(offset)) == pytest.approx(20 * math.log10(255 / offset))


def test_psnr_of_one_changed_channel_averages_over_all_channels(image: np.ndarray) -> None:
    """Protects the mean over channels: a third of the squared error is 4.77 dB more."""
    changed = image.copy()
    changed[..., 1] += 10
    assert psnr_db(image, changed) == pytest.approx(20 * math.log10(255 / 10) + 10 * math.log10(3))


def test_identical_images_have_no_psnr_and_ssim_one(image: np.ndarray) -> None:
    """Protects JSON from infinity."""
    assert psnr_db(image, image.copy()) is None
    assert ssim(image, image.copy()) == pytest.approx(1.0, abs=1e-12)


def test_ssim_of_two_flat_images_is_its_luminance_term() -> None:
    """Protects K1 and the peak: without contrast SSIM is (2ab + C1) / (a^2 + b^2 + C1), C1 = (0.01 * 255)^2."""
    low, high = np.full((32, 32, 3), 50, np.uint8), np.full((32, 32, 3), 100, np.uint8)
    constant = (0.01 * 255) ** 2
    expected = (2 * 50 * 100 + constant) / (50**2 + 100**2 + constant)
    assert ssim(low, high) == pytest.approx(expected, rel=1e-6)


def test_ssim_uses_the_gaussian_window_of_its_paper(image: np.ndarray) -> None:
    """Protects the settings: an own computation with an 11 x 11 Gaussian of sigma 1.5 gives the same value."""
    from scipy.ndimage import gaussian_filter

    other = noisy(image, 12)
    values = []
    for channel in range(3):
        x, y = image[..., channel].astype(float), other[..., channel].astype(float)
        blur = lambda image: gaussian_filter(image, 1.5, truncate=3.5)  # noqa: E731
        mean_x, mean_y = blur(x), blur(y)
        var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
        covariance = blur(x * y) - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
            (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        )
        values.append(similarity[5:-5, 5:-5].mean())
    assert ssim(image, other) == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_metrics_are_symmetric_and_fall_with_noise(metric, image: np.ndarray) -> None:
    """Protects the direction 'higher is better'."""
    values = [metric(image, noisy(image, deviation)) for deviation in (1, 4, 16, 64)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 4
    assert metric(image, noisy(image, 4)) == pytest.approx(metric(noisy(image, 4), image))


def test_images_that_cannot_be_compared_are_refused(image: np.ndarray) -> None:
    """Protects against a silent crop, cast or broadcast."""
    with pytest.raises(ValueError, match="different sizes"):
        psnr_db(image, image[:-1])
    with pytest.raises(ValueError, match="uint8"):
        psnr_db(image, image.astype(float))
    with pytest.raises(ValueError, match="uint8"):
        psnr_db(image[..., 0], image[..., 0])


@pytest.mark.parametrize(
    ("value_db", "rating"),
    [
        (None, "identical"),
        (40.01, "excellent"),
        (40.0, "good"),
        (30.0, "good"),
        (29.99, "fair"),
        (20.0, "fair"),
        (19.99, "poor"),
    ],
)
def test_psnr_ratings_follow_the_bands(value_db: float | None, rating: str) -> None:
    """Protects the bounds of the bands and the word for identical images."""
    assert rate_psnr(value_db) == rating


def test_the_table_of_metrics_is_complete_and_formats() -> None:
    """Protects report tables: each entry is filed under its own key and its format works."""
    for key, metric in METRICS.items():
        assert metric.key == key and metric.name and metric.sentence.endswith(".")
        value = 7 if metric.format.endswith("d") else 7.125
        assert format(value, metric.format).strip("+")[0] == "7"
