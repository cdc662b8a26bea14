"""Distances between sets: unbiased, zero for equal sets, and the numbers of torch-fidelity 0.4.0.

The expected numbers were made with torch-fidelity 0.4.0 from the features of `sets`:
`kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=40, kid_kernel=...)` with the polynomial kernel (degree 3,
coef0 1) and with the Gaussian one (sigma 10); `mmd2(..., mmd_est="u-statistic")` of the same kernels; and
`fid_statistics_to_metric` of `fid_features_to_statistics`.
"""

import numpy as np
import pytest

from stages.lib.quality.distributions import (
    BLOCK,
    CMMD_SCALE,
    cmmd,
    distance,
    distances_of_sets,
    fid,
    gaussian_kernel,
    kid,
    mmd2_paired,
    polynomial_kernel,
    student_975,
)


def mmd2_unpaired(x: np.ndarray, y: np.ndarray, kernel) -> float:
    """Squared maximum mean discrepancy of two independent sets (n, d): unbiased, as torch-fidelity computes KID."""
    n = len(x)
    within = sum(k.sum() - k.trace() for k in (kernel(x, x), kernel(y, y)))
    return float(within / (n * (n - 1)) - 2 * kernel(x, y).mean())


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)  # noqa: NPY002 - its numbers never change
    return unit(rng.normal(0, 1, (40, 12))), unit(rng.normal(0.2, 1.1, (40, 12)))


def test_the_estimators_are_torch_fidelitys(sets):
    assert mmd2_unpaired(*sets, polynomial_kernel) == pytest.approx(0.010856287780751872, abs=1e-9)
    assert mmd2_unpaired(*sets, gaussian_kernel) == pytest.approx(0.00043677499693095534, abs=1e-9)
    assert kid(*sets).mean == pytest.approx(0.011689947935155987, abs=1e-9)
    assert cmmd(*sets).mean == pytest.approx(CMMD_SCALE * 0.0004699768789822034, abs=1e-6)
    assert fid(*sets) == pytest.approx(0.2134333089695879, abs=1e-6)


def test_equal_sets_are_no_distance_apart_where_the_unpaired_estimator_would_say_less_than_nothing(sets):
    """Protects paired images from the bias of the cross terms of an image with its own counterpart."""
    x = sets[0]
    assert (kid(x, x).mean, kid(x, x).low, kid(x, x).high) == (0, 0, 0)
    assert cmmd(x, x).mean == 0 and abs(fid(x, x)) < 1e-9
    assert mmd2_unpaired(x, x, polynomial_kernel) < -1e-3


def test_order_of_sets_and_of_pairs_does_not_matter(sets):
    x, y = sets
    order = np.random.default_rng(0).permutation(len(x))
    for measure in (kid, cmmd):
        assert measure(x, y).mean == pytest.approx(measure(y, x).mean)
        assert measure(x[order], y[order]).high == pytest.approx(measure(x, y).high)
    assert fid(x, y) == pytest.approx(fid(y, x))


def test_distances_grow_with_damage(sets):
    x = sets[0]
    noise = np.random.default_rng(1).normal(0.3, 0.3, x.shape)
    for measure in (lambda a, b: kid(a, b).mean, lambda a, b: cmmd(a, b).mean, fid):
        values = [measure(x, unit(x + level * noise)) for level in (0.5, 1, 2)]
        assert values == sorted(values) and values[0] > 0


def test_paired_estimates_are_unbiased_and_their_intervals_cover_the_truth():
    """Protects both claims on paired, dependent sets: the truth is the mean of large samples' estimates."""
    rng = np.random.default_rng(2)

    def generate(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(0, 1, (n, 4))
        return x, x + rng.normal(0.6, 0.5, (n, 4))

    truth = np.mean([kid(*generate(900)).mean for _ in range(8)])
    found = [kid(*generate(32)) for _ in range(300)]
    means = np.array([item.mean for item in found])
    assert abs(means.mean() - truth) < 3 * means.std() / len(means) ** 0.5 + 0.02 * truth
    covered = np.mean([item.low <= truth <= item.high for item in found])
    assert 0.88 <= covered <= 0.99


def test_many_images_are_compared_in_blocks():
    """Protects memory at large n: kernels are BLOCK x BLOCK, and every pair still counts."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (2 * BLOCK + 6, 3))
    found = kid(x, x + 0.5)
    assert found.n == len(x) and found.low < found.mean < found.high
    assert found.mean == pytest.approx(kid(x[:900], x[:900] + 0.5).mean, rel=0.15)


def test_closed_forms():
    """Two Gaussians of equal covariance differ by the square of their means' distance; t of one pair of freedom."""
    x = np.random.default_rng(4).normal(0, 1, (500, 5))
    assert fid(x, x + 2) == pytest.approx(5 * 4)
    assert student_975(1) == pytest.approx(12.7062, abs=1e-4) and student_975(31) == pytest.approx(2.0395, abs=1e-4)
    with pytest.raises(ValueError, match="paired row by row"):
        mmd2_paired(x, x[:3], polynomial_kernel)


def test_fid_is_refused_with_the_reason_and_given_where_it_can_stand(sets):
    refused = distances_of_sets(sets, sets, 10_000)
    assert (refused["fid"], refused["fid_required"], refused["n"], refused["rank"]) == (None, 10_000, 40, 12)
    assert distances_of_sets(sets, sets, 40)["fid"] == pytest.approx(fid(*sets))
    eight = [features[:8] for features in sets]
    few = distances_of_sets(eight, eight, 5)  # enough by the param, too few for the dimension
    assert (few["fid"], few["fid_required"], few["rank"]) == (None, 13, 7)
    assert distances_of_sets([item[:1] for item in sets], [item[:1] for item in sets], 5)["kid"] is None


def test_a_distance_below_the_noise_of_its_computation_is_not_told_from_zero(sets):
    """Protects against a KID of 4.7e-08 that another resampling filter triples; a distance that stays is one."""
    x, y = sets
    near = x + 1e-4 * np.random.default_rng(5).normal(size=x.shape)
    for measure in (kid, cmmd):
        tripled = distance(measure, (x, near), (x, x + 3 * (near - x)))
        assert tripled["noise"] > abs(tripled["mean"]) and not tripled["beyond_zero"]
        apart = distance(measure, (x, y + 1), (x, y + 1.001))
        assert apart["beyond_zero"] and apart["noise"] < apart["low"]
        assert not distance(measure, (x, x), (x, x))["beyond_zero"]
