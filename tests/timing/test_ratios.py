"""Ratios over restarts: known answers, and what an interval must cover."""

import numpy as np
import pytest

from stages.lib.timing.disturbance import Disturbance
from stages.lib.timing.ratios import paired_ratios, ratio_of


def calls(*seconds: tuple[int, str, float], discarded: tuple[int, ...] = ()) -> list[dict]:
    return [
        {"restart": restart, "role": role, "latency_s": latency_s, "discarded": number in discarded}
        for number, (restart, role, latency_s) in enumerate(seconds)
    ]


def test_calls_are_paired_within_a_restart_whichever_came_first() -> None:
    """Protects the pairing: the machine slows down fourfold between two pairs, and the ratios do not see it."""
    taken = [(0, "variant", 1.0), (0, "baseline", 2.0), (0, "baseline", 8.0), (0, "variant", 4.0)]
    taken += [(1, "baseline", 9.0), (1, "variant", 3.0), (1, "variant", 1.0), (1, "baseline", 4.0)]
    assert paired_ratios(calls(*taken)) == [[2.0, 2.0], [3.0, 4.0]]
    assert paired_ratios(calls(*taken, discarded=(5,))) == [[2.0, 2.0], [4.0]]
    assert paired_ratios(calls(*taken, discarded=(0, 3))) == [[3.0, 4.0]]


def test_the_mean_is_geometric_and_over_restarts() -> None:
    """Protects from the restart with more pairs that counts for more, and from 2x and 0.5x that give 1.25x."""
    assert ratio_of([[2.0], [0.5]]).value == pytest.approx(1.0)
    assert ratio_of([[4.0, 4.0, 4.0], [1.0]]).value == pytest.approx(2.0)
    assert ratio_of([[2.0, 8.0]]).value == pytest.approx(4.0)


def test_restarts_widen_the_interval_which_pairs_alone_would_not() -> None:
    """Protects from five pairs in one pair of processes: 2.21x and 2.86x with intervals far apart."""
    alone, both = ratio_of([[2.2, 2.21] * 5]), ratio_of([[2.2, 2.21] * 5, [2.85, 2.86] * 5])
    assert alone.high < 2.22 and both.low < 2.22 and both.high > 2.84
    exact = ratio_of([[2.0, 2.0]] * 3)
    assert (exact.low, exact.high, exact.half_width) == pytest.approx((2.0, 2.0, 0.0))
    assert (exact.restarts, exact.pairs) == (3, 6)


def test_widened_by_the_reference_s_own_band_it_holds_the_truth() -> None:
    """Protects the promise of 95 %: restarts differ by 4 %, pairs by 3 %, the true ratio is 1."""
    random, held = np.random.default_rng(0), []
    for _ in range(200):
        own, reference = (
            ratio_of([np.exp(random.normal(0, 0.04) + random.normal(0, 0.03, 2)) for _ in range(3)]) for _ in range(2)
        )
        held.append(own.low * min(1, reference.low) <= 1 <= own.high * max(1, reference.high))
    assert np.mean(held) > 0.9


@pytest.mark.parametrize(
    ("steal", "interruptions", "discarded"),
    [(0.0, 5, False), (None, 5, False), (0.03, 5, True), (0.0, 60, False), (0.0, 120, True)],
)
def test_a_call_is_discarded_by_its_causes_alone(steal, interruptions, discarded) -> None:
    """Protects from choosing calls by what they measured."""
    assert Disturbance(steal, interruptions, 3000.0).as_json()["discarded"] is discarded


@pytest.mark.parametrize(("deviation", "pairs"), [(0.10, 43), (0.03, 4)])
def test_3_percent_need_as_many_pairs_as_their_spread_asks_for(deviation, pairs) -> None:
    """Protects from a fixed number of pairs: (1.96 * 0.10 / 0.03)^2 = 43, and 4 where they differ by 0.03."""
    logs = np.random.default_rng(1).normal(0, 1, pairs)
    logs = deviation * (logs - logs.mean()) / logs.std()
    assert ratio_of([np.exp(logs)]).half_width == pytest.approx(0.03, abs=0.003)
