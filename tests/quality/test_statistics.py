"""Intervals cover what they should, comparisons say what the data say, on data whose truth is known."""

import warnings
from dataclasses import asdict

import numpy as np
import pytest

from stages.lib.quality.statistics import (
    FEWEST_FOR_SHARES,
    bootstrap_means,
    compare_paired,
    holm,
    intervals,
    resampling_counts,
    shares_of_sums,
    student_p,
    tail_of,
    verdict,
)


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_intervals_cover_the_true_mean_about_as_often_as_they_say(kind):
    """Protects the meaning of 95 %: 400 samples of 32, the study's size here; a skewed one may lack a little."""
    rng = np.random.default_rng(1)
    rows = rng.normal(3, 2, (400, 32)) if kind == "normal" else rng.exponential(3, (400, 32))
    bounds = bootstrap_means(rows, resampling_counts(32, 1000, 0), 0.95)
    covered = ((bounds[:, 0] <= 3) & (bounds[:, 1] >= 3)).mean()
    assert (0.90 if kind == "normal" else 0.88) <= covered <= 0.98


def test_intervals_are_scipys():
    """Protects the arithmetic of the bias correction and the acceleration: the same resamples, the same interval."""
    from scipy.stats import bootstrap

    values = np.random.default_rng(2).exponential(1, 20)
    found = bootstrap_means(values[None], resampling_counts(20, 2000, 5), 0.95)[0]
    expected = bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(5), vectorized=True
    ).confidence_interval
    assert found == pytest.approx([expected.low, expected.high], abs=1e-6)


def test_equal_values_have_an_interval_of_no_width_and_few_values_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = intervals({"same": [1.0] * 5, "two": [1.0, 2.0], "none": [], "three": [1.0, 2.0, 4.0]}, 200, 0)
    assert found["same"] == {"mean": 1, "low": 1, "high": 1, "n": 5}
    assert found["two"] == {"mean": 1.5, "low": None, "high": None, "n": 2}
    assert "none" not in found
    assert 1 <= found["three"]["low"] < 7 / 3 < found["three"]["high"] <= 4


def test_intervals_shift_and_scale_with_the_values_and_do_not_depend_on_the_company():
    """Protects units: the interval of 10 x + 3 is 10 times the interval of x, plus 3."""
    values = np.random.default_rng(3).normal(0, 1, 16)
    alone = intervals({"x": values}, 500, 0)["x"]
    found = intervals({"x": values, "y": 10 * values + 3, "z": values[:9]}, 500, 0)
    assert found["x"] == pytest.approx(alone)
    assert found["y"]["low"] == pytest.approx(10 * alone["low"] + 3)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ((-0.5, 0.5), (-0.4, 0.4), "equal"),
        ((0.1, 0.5), (0.2, 0.4), "equal"),  # a difference, but one within the margin
        ((-2, 2), (-1.5, 1.5), "undecided"),  # nothing seen is not equality
        ((0.1, 3), (0.3, 2.5), "higher"),
        ((-3, -0.1), (-2.5, -0.3), "lower"),
        ((-1.2, 0.9), (-1.0, 0.8), "undecided"),
    ],
)
def test_the_verdict_needs_evidence_in_both_directions(wide, narrow, expected):
    assert verdict(wide, narrow, 1.0) == expected


def test_comparisons_find_what_is_there_and_claim_nothing_from_noise():
    """Protects the equivalence statement: few and noisy pairs leave it undecided, many quiet ones settle it."""
    rng = np.random.default_rng(4)
    noisy, quiet, shifted = rng.normal(0, 5, 8), rng.normal(0, 0.5, 8), rng.normal(3, 0.5, 8)
    found = compare_paired(np.array([noisy, quiet, shifted, -shifted]), 1.0, 1000, 0)
    assert [item.verdict for item in found] == ["undecided", "equal", "higher", "lower"]
    assert all(item.n == 8 and item.low <= item.low_90 <= item.mean <= item.high_90 <= item.high for item in found)
    assert found[2].mean == -found[3].mean
    assert compare_paired(np.zeros((1, 2)), 1.0, 100, 0)[0].verdict == "undecided"


def test_two_one_sided_tests_err_rarely():
    """Protects the 5 %: differences that lie exactly on the margin are called equal in at most about 5 % of trials."""
    rows = np.random.default_rng(5).normal(1, 1, (400, 32))
    share = np.mean([item.verdict == "equal" for item in compare_paired(rows, 1.0, 500, 0)])
    assert share <= 0.09


def test_p_is_scipys():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(4).exponential(1, 30)
    assert student_p(values, 1.3) == pytest.approx(ttest_1samp(values, 1.3).pvalue)
    assert student_p(np.ones(4), 1.0) == 1 and student_p(np.ones(4), 0.0) == 0


def test_holm_is_a_known_example_and_never_below_p():
    """Holm's step-down: the smallest of four is multiplied by 4, the next by 3, and none falls below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_one_true_difference_among_many_is_kept_and_chance_is_not():
    """360 comparisons: chance alone gives some 18 below 5 %, after Holm none; a true difference stays."""
    rng = np.random.default_rng(6)
    rows = rng.normal(0, 1, (360, 34))
    rows[0] += 2
    found = [student_p(row, 0.0) for row in rows]
    assert sum(p < 0.05 for p in found[1:]) > 8
    assert [number for number, p in enumerate(holm(found)) if p < 0.05] == [0]


def test_a_tail_names_the_worst_image_whichever_way_is_worse():
    """Protects the image that a good mean hides, as the one at 28.3 dB behind 52.6 dB."""
    psnr = {"cat": 60.7, "horse": 28.3, "dog": 61.0, "mars": 60.4}
    assert asdict(tail_of(psnr, True)) == {"worst": 28.3, "worst_id": "horse", "percentile_5": 28.3}
    many = {str(number): float(number) for number in range(34)}
    assert tail_of(many, True).percentile_5 == 1 and tail_of(many, False).percentile_5 == 32
    assert tail_of(many, False).worst_id == "33"


def test_a_share_is_the_ratio_of_sums_and_four_images_cannot_tell_it():
    """Known answer: damages of 1, 1, 1 and 97, of which the second component has -42, 44, 7 and 31 %."""
    wholes = np.array([1.0, 1.0, 1.0, 97.0])
    second = np.array([-0.42, 0.44, 0.07, 0.31]) * wholes
    first, other = shares_of_sums(np.array([wholes - second, second]), wholes, 2000, 0)
    assert other.share == pytest.approx(0.3016) and first.share + other.share == pytest.approx(1)
    assert first.low <= first.share <= first.high and not first.tells and first.n == 4
    assert shares_of_sums(second[None, :2], wholes[:2], 100, 0)[0].low is None
    enough = np.ones(FEWEST_FOR_SHARES)
    (even,) = shares_of_sums(enough[None] / 2, enough, 100, 0)
    assert (even.share, even.low, even.high, even.tells) == (0.5, 0.5, 0.5, True)


@pytest.mark.parametrize(("n", "least", "most"), [(4, 0.60, 0.88), (FEWEST_FOR_SHARES, 0.85, 0.98)])
def test_intervals_of_shares_hold_the_true_one_once_there_are_enough_images(n, least, most):
    """Protects the number of images from which a share is told: uneven damage, of which the first causes 2 / 3."""
    rng, held = np.random.default_rng(7), 0
    for _ in range(300):
        parts = np.exp(rng.normal(0, 1.2, (2, n))) * np.array([[1.0], [0.5]])
        share = shares_of_sums(parts[:1], parts.sum(axis=0), 400, 0)[0]
        held += share.low <= 2 / 3 <= share.high
    assert least <= held / 300 <= most
