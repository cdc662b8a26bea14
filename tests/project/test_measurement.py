"""The statistics of a measurement have known values and survive JSON."""

import math

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.measurement import Measurement


def test_statistics_have_their_textbook_values() -> None:
    """Protects every statistic that a report shows."""
    measurement = Measurement("s", (2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0))
    assert (measurement.n, measurement.mean, measurement.median) == (8, 5.0, 4.5)
    assert measurement.std == pytest.approx(math.sqrt(32 / 7))  # divisor n - 1; with n it would be 2
    assert (measurement.minimum, measurement.maximum) == (2.0, 9.0)


def test_one_sample_has_no_spread() -> None:
    """Protects against dividing by n - 1 = 0."""
    assert Measurement("s", (3.0,)).std == 0.0


@pytest.mark.parametrize("samples", [(), (math.nan,), (1.0, math.inf)])
def test_no_sample_and_no_number_are_refused(samples: tuple[float, ...]) -> None:
    """Protects reports from an infinite or undefined figure."""
    with pytest.raises(ValueError):
        Measurement("s", samples)


def test_json_keeps_order_unit_and_samples() -> None:
    """Protects the raw samples: they come back in the order they were taken."""
    measurement = Measurement("x", (3.0, 1.0, 2.0))
    assert Measurement.from_json({"name": "speedup", **measurement.as_json()}) == measurement
    assert measurement.as_json()["samples"] == [3.0, 1.0, 2.0]


def test_json_without_samples_is_a_clear_error() -> None:
    """Protects readers of a broken file from a KeyError."""
    with pytest.raises(UserError, match="samples"):
        Measurement.from_json({"unit": "s"})
