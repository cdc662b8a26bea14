"""Fronts: what stands on one, what does not and because of what, and when that is sure."""

import random

import pytest

from stages.lib.results.pareto import COSTS, Point, dominates, dominator, front, standings
from tests.candidates import candidate, some


def points(seed: int) -> list[Point]:
    rng = random.Random(seed)
    return [Point(f"p{n}", rng.randint(0, 6), rng.randint(0, 6)) for n in range(12)]


def test_a_known_front():
    """Cheap and poor, dear and good stand on it; dear and poor does not, and equal points both do."""
    poor, good, bad = Point("poor", 0.8, 1), Point("good", 1.0, 5), Point("bad", 0.7, 4)
    twin = Point("twin", 1.0, 5)
    assert front([good, bad, poor, twin]) == [poor, good, twin]
    assert dominator(bad, [good, bad, poor]) == poor
    assert dominator(good, [good, bad, poor, twin]) is None


def test_equal_in_one_and_better_in_the_other_dominates_and_equal_in_both_does_not():
    point = Point("p", 0.9, 2)
    assert dominates(point, Point("dearer", 0.9, 3)) and dominates(point, Point("poorer", 0.8, 2))
    assert not dominates(point, Point("twin", 0.9, 2)) and not dominates(point, Point("cheaper", 0.8, 1))


@pytest.mark.parametrize("seed", range(30))
def test_nothing_beats_the_front_and_the_front_beats_all_else(seed):
    """Protects the two halves of the definition, on points with many ties."""
    given = points(seed)
    kept = front(given)
    assert kept and not any(dominates(one, other) for one in given for other in kept)
    for point in given:
        best = dominator(point, given)
        assert (best is None) == (point in kept)
        assert best is None or (best in kept and dominates(best, point))


@pytest.mark.parametrize("seed", range(10))
def test_dominance_is_a_strict_order(seed):
    given = points(seed)
    for one in given:
        assert not dominates(one, one)
        for other in given:
            assert not (dominates(one, other) and dominates(other, one))


@pytest.mark.parametrize("seed", range(10))
def test_the_front_does_not_depend_on_order_nor_on_what_it_dominates(seed):
    given = points(seed)
    kept = front(given)
    assert front(list(reversed(given))) == kept
    assert front(kept) == kept


def test_a_simulated_variant_stands_in_the_front_of_size_alone():
    """Protects a reader from a speed or a memory that nothing ran at."""
    given = [candidate("fp32"), candidate("int4", speedup=None, disk_mib=5, ssim=0.9)]
    assert set(standings(given, "disk_mib", ())) == {"fp32", "int4"}
    assert set(standings(given, "time_s", ())) == set(standings(given, "peak_mib", ())) == {"fp32"}


def test_dominance_is_sure_only_where_intervals_say_so():
    slow, fast = candidate("slow", speedup=1.0, ssim=0.9), candidate("fast", speedup=2.0, ssim=0.95)
    near = candidate("near", speedup=1.96, ssim=0.9)

    def compared(name: str, low: float | None, high: float | None) -> dict:
        return {"reference": name, "variant": "fast", "ssim": {"low": low, "high": high}}

    def sure(other, comparisons) -> bool:
        found = standings([other, fast], "time_s", comparisons)[other.name]
        assert found.by == "fast"
        return found.sure

    assert sure(slow, [compared("slow", 0.01, 0.09)])
    assert not sure(slow, [compared("slow", -0.01, 0.09)])
    assert not sure(slow, [compared("slow", None, None)])
    assert not sure(slow, ())
    assert not sure(near, [compared("near", 0.01, 0.09)]), "the ranges of the speed-ups overlap"
    swapped = [{"reference": "fast", "variant": "slow", "ssim": {"low": -0.09, "high": -0.01}}]
    assert sure(slow, swapped), "a difference counts the other way round as well"


def test_an_unknown_cost_names_the_legal_ones():
    with pytest.raises(ValueError, match="use one of disk_mib, time_s, peak_mib"):
        standings([], "price", ())


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("seed", range(5))
def test_who_dominates_stands_on_the_front_himself(cost, seed):
    found = standings(some(seed), cost, ())
    assert all(item.by is None or found[item.by].by is None for item in found.values())


def test_efficiency_is_a_product_and_undefined_without_a_factor():
    assert candidate("a", speedup=1.5, disk_mib=20, ssim=0.9).efficiency == pytest.approx(2 * 1.5 * 0.9)
    assert candidate("a", disk_mib=40).efficiency == 1
    assert candidate("a", speedup=None).efficiency is None
    assert candidate("a", ssim=None).efficiency is None
    assert candidate("a", ssim=-0.1).efficiency is None
