"""Decisions: the recommended variant is the best of those that may be, and every turning point turns."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stages.lib.project.sections import Scenario
from stages.lib.results.candidates import candidate as candidate_of
from stages.lib.results.scenarios import Decision, Turn, decide, obstacles, turns, value
from stages.lib.results.speeds import stated
from tests.candidates import candidate, some
from tests.timings import calls_of, spread

AIMS = ("time_s", "disk_mib", "peak_mib")
SEEDS = range(60)
NUDGE = 1e-6


def scenario(
    minimise: str = "time_s", floor: float = 0.93, limit: float | None = None, device: str = "cpu"
) -> Scenario:
    return Scenario(label="S", device=device, memory_limit_mib=limit, ssim_threshold=floor, minimise=minimise)


def moved(decision: Decision, turn: Turn, factor: float) -> Decision:
    """The decision once the number of `turn` has gone `factor` of its way; 1 is the turning point itself."""
    scenario, target = decision.scenario, turn.now + factor * (turn.at - turn.now)
    candidates = [*decision.eligible, *(item for item, _held in decision.excluded)]
    if turn.kind.startswith("floor"):
        return decide(scenario.model_copy(update={"ssim_threshold": target}), candidates)
    if turn.kind.startswith("limit"):
        return decide(scenario.model_copy(update={"memory_limit_mib": target}), candidates)
    item = decision.winner if turn.kind == "winner" else decision.runner_up
    key = scenario.minimise
    held = getattr(item, key)
    changed = replace(item, **{key: replace(held, value=target) if key == "time_s" else target})
    return decide(scenario, [changed if other is item else other for other in candidates])


def test_a_known_decision():
    """The fastest is below the threshold, the next one too large for memory, the next wins before a slower one."""
    poor = candidate("poor", speedup=3, ssim=0.5)
    big = candidate("big", speedup=2.5, peak_mib=900.0)
    good, slow = candidate("good", speedup=2, ssim=0.95), candidate("slow", speedup=1)
    simulated, there = candidate("simulated", speedup=None), candidate("there", speedup=9, device="cuda")
    found = decide(scenario(limit=600), [poor, big, slow, simulated, good, there])
    assert (found.winner, found.runner_up) == (good, slow)
    held = {item.name: reasons for item, reasons in found.excluded}
    assert held == {"poor": ("quality",), "big": ("memory",), "simulated": ("simulated",), "there": ("device",)}


@pytest.mark.parametrize("minimise", AIMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_recommended_one_may_be_and_none_that_may_be_is_better(seed, minimise):
    asked = scenario(minimise, limit=700)
    given = some(seed)
    found = decide(asked, given)
    assert len(found.eligible) + len(found.excluded) == len(given)
    for item in given:
        fits = item.device == "cpu" and not item.simulated and item.ssim.value >= 0.93 and item.peak_mib <= 700
        assert fits == (item in found.eligible) == (obstacles(asked, item) == ())
        assert not fits or value(asked, found.winner) <= value(asked, item)


@pytest.mark.parametrize("minimise", AIMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_advice_changes_just_beyond_each_turning_point_and_not_before(seed, minimise):
    """Protects "how far a number must move" by moving it."""
    found = decide(scenario(minimise, limit=700), some(seed))
    for turn in turns(found):
        if turn.now == turn.at:
            continue  # a tie, decided by what comes next
        factor = NUDGE * abs(turn.now) / abs(turn.at - turn.now)
        before, beyond = moved(found, turn, 1 - factor), moved(found, turn, 1 + factor)
        names = [item.winner and item.winner.name for item in (found, before, beyond)]
        assert names[1] == names[0], turn
        assert names[2] == (turn.then and turn.then.name) != names[0], turn


def test_there_is_a_turn_for_every_number_that_can_change_the_advice():
    better, big = candidate("better", speedup=3, ssim=0.9), candidate("big", speedup=4, peak_mib=900.0)
    found = decide(scenario(limit=700), [candidate("a", speedup=2, ssim=0.95), candidate("b"), better, big])
    assert [(turn.kind, turn.then and turn.then.name) for turn in turns(found)] == [
        ("winner", "b"), ("rival", "b"), ("floor-up", "b"), ("limit-down", None), ("floor-down", "better"),
        ("limit-up", "big"),
    ]  # fmt: skip


def test_what_no_variant_serves_has_no_winner_but_a_way_there():
    found = decide(scenario(floor=0.99), [candidate("a", ssim=0.9), candidate("b", ssim=0.95)])
    assert (found.winner, found.runner_up, found.tied, found.surely_best) == (None, None, (), None)
    assert [(turn.kind, turn.at, turn.then.name) for turn in turns(found)] == [("floor-down", 0.95, "b")]
    assert decide(scenario(device="mobile"), some(0)).winner is None
    assert turns(decide(scenario(), [])) == []


def test_an_interval_that_reaches_below_the_floor_is_not_sure():
    """Protects a reader from a mean that only just reaches the floor. Intervals here are 0.005 to each side."""
    close, safe = candidate("close", speedup=2, ssim=0.952), candidate("safe", speedup=1, ssim=0.97)
    found = decide(scenario(floor=0.95), [close, safe])
    assert found.winner == close and not found.surely_fits and found.surely_best == safe
    assert decide(scenario(floor=0.94), [close, safe]).surely_fits


def test_speed_ups_whose_ranges_overlap_are_tied():
    """Ranges here are 5 % to each side."""
    first, near, far = (candidate(name, speedup=ratio) for name, ratio in (("a", 2.0), ("b", 1.9), ("c", 1.7)))
    assert decide(scenario(), [first, near, far]).tied == (near,)


def test_at_equal_values_the_higher_ssim_wins_then_the_declared_order():
    low, high, same = candidate("low", ssim=0.95), candidate("high", ssim=0.97), candidate("same", ssim=0.97)
    assert decide(scenario(), [low, high, same]).eligible == (high, same, low)
    assert decide(scenario(), [low, same, high]).eligible == (same, high, low)


def test_any_device_is_any():
    assert decide(scenario(device="any"), [candidate("a", device="cuda")]).winner.name == "a"


def test_a_variant_without_images_is_not_recommended():
    found = decide(scenario(), [candidate("a", ssim=None)])
    assert found.winner is None and found.excluded[0][1] == ("unjudged",)


@pytest.mark.parametrize(("peak_mib", "libraries_mib"), [(609.0, 480.0), (968.0, 839.0)])
def test_a_memory_limit_is_held_against_the_model_s_share_and_a_stated_runtime(peak_mib, libraries_mib):
    """Protects the advice from the build of PyTorch: processes of 609 and 968 MiB, of which 129 are the model's."""
    timing = {"measured": True, "calls": calls_of(spread(1.0)), "extrapolated": False, "baseline_extrapolated": False}
    timing |= {"run_peak_mib": peak_mib, "libraries_mib": libraries_mib}
    item = SimpleNamespace(
        name="fp32",
        label="FP32",
        variant=SimpleNamespace(simulated=False),
        compression=1.0,
        size={"disk_mib": 33.0, "quantize_s": 0.0},
        timing=stated({"fp32": timing}, "fp32")[0]["fp32"],
        quality={"ssim": 1.0, "psnr_db": None, "per_image": [{"ssim": 1.0}]},
    )
    found = candidate_of(item, True, "cpu")
    assert found.peak_mib == 129 + 150
    assert decide(scenario(limit=279), [found]).winner == found
    assert decide(scenario(limit=278), [found]).excluded == ((found, ("memory",)),)
