"""Distances of large sets: known answers, what they must be blind to, and intervals that hold the truth."""

import numpy as np
import pytest
import torch

from stages.lib.quality.frechet import Moments, frechet_distance
from stages.lib.quality.large_sets import frechet_distances, precision_recall

N, DIMENSION = 600, 8


def drawn(seed: int, n: int = N) -> torch.Tensor:
    return torch.randn(n, DIMENSION, generator=torch.Generator().manual_seed(seed))


def test_the_distance_of_gaussians_of_one_shape_is_that_of_their_means():
    x = drawn(0)
    assert frechet_distance(Moments.of(x), Moments.of(x)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(Moments.of(x), Moments.of(x + 3)) == pytest.approx(9 * DIMENSION, rel=1e-6)
    assert frechet_distance(Moments.of(x), Moments.of(2 * x)) == pytest.approx(
        float(x.double().mean(0).square().sum() + Moments.of(x).covariance.trace()), rel=1e-6
    )


def test_moments_of_parts_add_up_and_come_apart():
    x = drawn(1)
    parts = Moments.of(x[:100]), Moments.of(x[100:])
    for found, wanted in (((parts[0] + parts[1]), x), (Moments.of(x) - parts[0], x[100:])):
        assert found.n == len(wanted)
        assert np.allclose(found.covariance, np.cov(wanted.double().numpy(), rowvar=False))


def test_only_a_set_of_another_source_exceeds_what_other_noise_does():
    sets = {"base": drawn(2), "same": drawn(3), "moved": drawn(2) + 0.5}
    found = frechet_distances(sets, "base", drawn(4))
    assert found["base"].excess == found["base"].low == found["base"].high == 0
    assert found["same"].low < 0 < found["same"].high
    moved = found["moved"]
    assert 0 < moved.low < moved.excess < moved.high
    assert moved.excess == pytest.approx(DIMENSION * 0.5**2, abs=0.6)  # and chance in the means


def test_no_more_images_than_features_have_no_distance():
    """A covariance of n <= d images lacks rank: that of the smallest set that the interval is computed from, too."""
    few = {"base": drawn(2, DIMENSION), "same": drawn(3, DIMENSION)}
    assert frechet_distances(few, "base", drawn(4, DIMENSION)) == {"base": None, "same": None}
    short = {"base": drawn(2, DIMENSION + 1)}
    assert frechet_distances(short, "base", drawn(4, DIMENSION + 1)) == {"base": None}  # eight without a group
    enough = {"base": drawn(2, 2 * DIMENSION)}
    assert frechet_distances(enough, "base", drawn(4, 2 * DIMENSION))["base"].distance > 0


def test_precision_falls_with_images_out_of_place_and_recall_with_those_that_are_missing():
    reference = torch.cat([drawn(5), drawn(6) + 30])
    half = drawn(7, 2 * N)  # of one of two heaps alone
    precision, recall = precision_recall(reference, half)
    assert precision > 0.8 and recall == pytest.approx(0.5, abs=0.1)
    assert precision_recall(reference, half + 500) == (0, 0)
    assert precision_recall(reference, reference) == (1, 1)
