"""Which variant should one take? A decision per scenario, why not each other one, and what would change it.

The rule: of the variants that ran on the device, keep the memory limit and reach the quality threshold on average, the
one with the least of what the scenario minimises. At equal values the higher SSIM wins, then the order of params.yaml.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib.project.sections import Scenario
from stages.lib.results.candidates import FEWEST_RESTARTS, Candidate
from stages.lib.results.pareto import cost_of

# Why a variant cannot be recommended, the weightiest first: the report gives the first one.
OBSTACLES = ("device", "simulated", "unjudged", "quality", "memory")


@dataclass(frozen=True)
class Decision:
    """What follows from the rule. `eligible` are the variants that may be recommended, the best first; none may be."""

    scenario: Scenario
    eligible: tuple[Candidate, ...]
    excluded: tuple[tuple[Candidate, tuple[str, ...]], ...]

    @property
    def winner(self) -> Candidate | None:
        """The recommended variant, if any may be."""
        return self.eligible[0] if self.eligible else None

    @property
    def runner_up(self) -> Candidate | None:
        """The next best one that may be recommended."""
        return self.eligible[1] if len(self.eligible) > 1 else None

    @property
    def surely_fits(self) -> bool:
        """Whether all of the winner's SSIM interval reaches the floor."""
        return self.winner is not None and self.winner.surely_meets(self.scenario.ssim_threshold)

    @property
    def surely_best(self) -> Candidate | None:
        """The best of those whose whole SSIM interval reaches the floor."""
        return next((item for item in self.eligible if item.surely_meets(self.scenario.ssim_threshold)), None)

    @property
    def tied(self) -> tuple[Candidate, ...]:
        """The others that cannot be told from the winner in what is minimised."""
        if not self.eligible:
            return ()
        best, *others = self.eligible
        cost = self.scenario.minimise
        if cost == "time_s":
            return tuple(item for item in others if not item.told_from(best))
        return tuple(item for item in others if cost_of(item, cost).overlaps(cost_of(best, cost)))

    @property
    def trusted(self) -> bool:
        """Whether what is minimised can be told: not the time of a run whose speeds are not to be trusted."""
        given = (*self.eligible, *(item for item, _held in self.excluded))
        return self.scenario.minimise != "time_s" or all(item.trusted for item in given)


@dataclass(frozen=True)
class Turn:
    """One number that would change the advice. From `now`, it has to pass `at`; then `then` is recommended, or nothing.

    `kind`: 'winner' and 'rival' are what is minimised, of the winner and of the runner-up; 'floor-up', 'floor-down',
    'limit-down' and 'limit-up' are the scenario's own limits. What goes down changes the advice at `at` itself.
    """

    kind: str
    now: float
    at: float
    then: Candidate | None


def obstacles(scenario: Scenario, item: Candidate) -> tuple[str, ...]:
    """Everything that keeps a variant from being recommended, in the order of OBSTACLES; empty if nothing does."""
    held = {
        "device": scenario.device not in ("any", item.device),
        "simulated": item.simulated,
        "unjudged": item.ssim is None,
        "quality": item.ssim is not None and item.ssim.value < scenario.ssim_threshold,
        "memory": _over(scenario, item),
    }
    return tuple(name for name in OBSTACLES if held[name])


def _over(scenario: Scenario, item: Candidate) -> bool:
    limit = scenario.memory_limit_mib
    return limit is not None and item.peak_mib is not None and item.peak_mib > limit


def value(scenario: Scenario, item: Candidate) -> float:
    """What the scenario minimises, of a variant that is not simulated."""
    return cost_of(item, scenario.minimise).value


def decide(scenario: Scenario, candidates: Sequence[Candidate]) -> Decision:
    """Apply the rule to `candidates`, which are in the order of params.yaml."""
    found = [(item, obstacles(scenario, item)) for item in candidates]
    eligible = [item for item, held in found if not held]
    eligible.sort(key=lambda item: _rank(scenario, item))
    return Decision(scenario, tuple(eligible), tuple((item, held) for item, held in found if held))


def _rank(scenario: Scenario, item: Candidate) -> tuple[float, float]:
    return value(scenario, item), -item.ssim.value


def _best(scenario: Scenario, items: list[Candidate]) -> Candidate:
    return min(items, key=lambda item: _rank(scenario, item))


def turns(decision: Decision) -> list[Turn]:
    """Each number whose change alone would change the advice, and how far it has to go."""
    scenario, winner, rival = decision.scenario, decision.winner, decision.runner_up
    found = []
    if rival:
        own, other = value(scenario, winner), value(scenario, rival)
        found += [Turn("winner", own, other, rival), Turn("rival", other, own, rival)]
    if winner:
        found.append(Turn("floor-up", scenario.ssim_threshold, winner.ssim.value, _without(decision, "ssim_threshold")))
        if scenario.memory_limit_mib is not None:
            found.append(
                Turn("limit-down", scenario.memory_limit_mib, winner.peak_mib, _without(decision, "memory_limit_mib"))
            )
    if better := _held_by(decision, "quality"):
        floor = max(item.ssim.value for item in better)
        let_in = [item for item in better if item.ssim.value >= floor]
        found.append(Turn("floor-down", scenario.ssim_threshold, floor, _best(scenario, let_in)))
    if better := _held_by(decision, "memory"):
        limit = min(item.peak_mib for item in better)
        let_in = [item for item in better if item.peak_mib <= limit]
        found.append(Turn("limit-up", scenario.memory_limit_mib, limit, _best(scenario, let_in)))
    return found


def _without(decision: Decision, key: str) -> Candidate | None:
    """Who is recommended once the floor rises above the winner's SSIM, or the limit falls below its peak."""
    winner = decision.winner
    if key == "ssim_threshold":
        left = [item for item in decision.eligible if item.ssim.value > winner.ssim.value]
    else:
        left = [item for item in decision.eligible if item.peak_mib < winner.peak_mib]
    return left[0] if left else None


def _held_by(decision: Decision, obstacle: str) -> list[Candidate]:
    """Those that only `obstacle` keeps out and that would be better than the winner; all, if there is no winner."""
    only = [item for item, held in decision.excluded if held == (obstacle,)]
    if decision.winner is None:
        return only
    best = value(decision.scenario, decision.winner)
    return [item for item in only if value(decision.scenario, item) < best]


def is_supported(decision: Decision, item: Candidate, baseline: Candidate) -> bool:
    """Whether 95 % intervals leave no doubt that `item` meets the threshold and is better than the baseline.

    Better in what the scenario minimises; where speeds are not trusted, nothing is known to be faster.
    """
    cost = decision.scenario.minimise
    better = decision.trusted and cost_of(item, cost).high < cost_of(baseline, cost).low
    told = cost != "time_s" or item.restarts >= FEWEST_RESTARTS
    return better and told and item.surely_meets(decision.scenario.ssim_threshold)


def supported(decision: Decision, baseline: Candidate) -> Candidate | None:
    """The best variant that is supported; else the baseline, if it may be recommended; else None."""
    found = (item for item in decision.eligible if is_supported(decision, item, baseline))
    return next(found, next((item for item in decision.eligible if item.is_baseline), None))


def alternative(decision: Decision, chosen: Candidate | None) -> Candidate | None:
    """What may be better than `chosen`, without being supported: better in what is minimised, or not known to be worse.

    The best that reaches the threshold on average; else the one next below the threshold; else one that is tied.
    """
    if chosen is None or decision.winner is not chosen:
        return decision.winner
    below = _held_by(decision, "quality")
    if below:
        return max(below, key=lambda item: item.ssim.value)
    return next(iter(decision.tied), None)


@dataclass(frozen=True)
class Change:
    """A threshold of SSIM from which on, upwards or downwards, `then` is supported instead."""

    upwards: bool
    at: float
    then: Candidate


def threshold_changes(decision: Decision, chosen: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
    """The nearest thresholds, above and below the scenario's, that change what is supported."""
    baseline = next(item for item in candidates if item.is_baseline)
    ends = sorted({item.ssim.low for item in candidates if item.has_interval})
    now, found = decision.scenario.ssim_threshold, []
    for upwards, tried in (
        (True, [end for end in ends if end >= now]),
        (False, [end for end in ends[::-1] if end < now]),
    ):
        for end in tried:
            threshold = math.nextafter(end, 2) if upwards else end
            scenario = decision.scenario.model_copy(update={"ssim_threshold": threshold})
            other = supported(decide(scenario, candidates), baseline)
            if other is not None and other is not chosen:
                found.append(Change(upwards, end, other))
                break
    return found
