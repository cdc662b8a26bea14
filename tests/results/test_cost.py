"""Costs: known answers, what they are proportional to, and break-even as the point where two bills are equal."""

import pytest

from stages.lib.results.cost import (
    acceptable_share,
    break_even_images,
    cost_of_acceptable,
    cost_of_generating,
    cost_row,
    digits_of,
)
from tests.candidates import candidate


def test_a_image_of_an_hour_costs_an_hour():
    assert cost_of_generating(3600, 2.5, 1.0) == 2.5
    assert cost_of_generating(3600, 2.5, 0.5) == 5


@pytest.mark.parametrize("factor", [0.1, 2, 7])
def test_a_cost_is_proportional_to_time_and_price_and_inversely_to_utilisation(factor):
    once = cost_of_generating(1.3, 0.7, 0.1)
    assert cost_of_generating(1.3 * factor, 0.7, 0.1) == pytest.approx(factor * once)
    assert cost_of_generating(1.3, 0.7 * factor, 0.1) == pytest.approx(factor * once)
    assert cost_of_generating(1.3, 0.7, 0.1 * factor) == pytest.approx(once / factor)


def test_the_share_counts_images_at_the_floor_and_wilson_s_interval_is_the_published_one():
    """Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 and 0 of 20, method 3."""
    found = acceptable_share([1.0] * 81 + [0.5] * 182, 1.0)
    assert (found.value, found.low, found.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    none = acceptable_share([0.5] * 20, 0.6)
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0.1611), abs=5e-5)
    with pytest.raises(ValueError, match="at least one image"):
        acceptable_share([], 0.5)


def test_a_higher_floor_never_accepts_more():
    ssims = [0.7, 0.8, 0.9, 0.95, 1.0]
    shares = [acceptable_share(ssims, floor).value for floor in (0, 0.75, 0.85, 0.92, 0.97, 1.0)]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1 and shares[-1] == 0.2


def test_thrown_away_images_are_paid_for():
    assert cost_of_acceptable(0.3, 1.0) == 0.3
    assert cost_of_acceptable(0.3, 0.5) == 0.6
    assert cost_of_acceptable(0.3, 0.0) is None


@pytest.mark.parametrize(("making_s", "saved_s", "utilisation"), [(100, 0.5, 0.5), (3, 2, 1.0), (1000, 0.01, 0.1)])
def test_at_break_even_both_bills_are_equal(making_s, saved_s, utilisation):
    """The bill: making at the full price, generation at the price of all paid hours."""
    count = break_even_images(making_s, saved_s, utilisation)
    slow = count * cost_of_generating(3.0, 1.7, utilisation)
    fast = count * cost_of_generating(3.0 - saved_s, 1.7, utilisation) + cost_of_generating(making_s, 1.7, 1.0)
    assert slow == pytest.approx(fast)


def test_what_is_not_faster_never_pays_back_and_what_is_free_does_at_once():
    assert break_even_images(10, 0, 0.5) is None
    assert break_even_images(10, -1, 0.5) is None
    assert break_even_images(0, -1, 0.5) is None
    assert break_even_images(-1, 0.1, 0.5) == 0


def test_a_row_of_the_table():
    """FP32 takes a second: at 3.6 an hour and full use, a thousand images cost 1; twice as fast, half of that."""
    baseline = candidate("fp32", is_baseline=True, disk_mib=40)
    fast = candidate("fast", speedup=2, ssim=0.95, making_s=11.0, ssims=(0.9, 0.96, 0.97, 0.98))
    row = cost_row(fast, baseline, 3.6, 1.0, 0.95)
    assert row.thousand.value == pytest.approx(0.5) and row.thousand.low < 0.5 < row.thousand.high
    assert row.share.value == 0.75 and row.acceptable == pytest.approx(0.5 / 0.75)
    assert row.break_even == pytest.approx(20)
    own = cost_row(baseline, baseline, 3.6, 1.0, 0.95)
    assert own.thousand.value == pytest.approx(1) and own.break_even is None and own.share.value == 1


def test_a_simulated_variant_costs_nothing_that_is_known_and_a_image_less_one_has_no_share():
    baseline = candidate("fp32", is_baseline=True)
    simulated = cost_row(candidate("int4", speedup=None), baseline, 1, 1, 0.9)
    assert (simulated.thousand, simulated.break_even, simulated.share, simulated.acceptable) == (None,) * 4
    unseen = cost_row(candidate("a", speedup=2, ssim=None), baseline, 1, 1, 0.9)
    assert unseen.thousand and unseen.share is unseen.acceptable is None


def test_the_smallest_cost_shows_three_digits():
    assert digits_of([0.0324, 5.0]) == 4
    assert digits_of([12.0]) == 2
    assert digits_of([]) == 2
    assert digits_of([1e-9]) == 6
