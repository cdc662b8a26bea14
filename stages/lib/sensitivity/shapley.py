"""Who is to blame? Effects of a few players, each in or out, on a value measured for every combination of them.

`value` maps every set of players (as a frozenset, 2^n of them) to a number; here a damage, 0 where nothing is
quantized. Shapley, "A value for n-person games", 1953: the one division of value(all) - value(none) that is fair to
equal players, gives nothing to one without effect, and adds up over sums of games. Main effects and interactions are
those of a two-level full factorial design (Box, Hunter and Hunter, "Statistics for Experimenters", 2nd ed., chapter 5),
not halved: what adding a player does, averaged over all combinations of the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import factorial

Value = Mapping[frozenset[str], float]


def subsets(players: Sequence[str]) -> Iterator[frozenset[str]]:
    """Every set of players, the empty one first, by size and then in the order of `players`."""
    for size in range(len(players) + 1):
        yield from map(frozenset, combinations(players, size))


def shapley_values(players: Sequence[str], value: Value) -> dict[str, float]:
    """The share of each player; they add up to value(all) - value(none)."""
    _check(players, value)
    total = factorial(len(players))
    shares = {}
    for player in players:
        others = [other for other in players if other != player]
        shares[player] = sum(
            factorial(len(group))
            * factorial(len(others) - len(group))
            / total
            * (value[group | {player}] - value[group])
            for group in subsets(others)
        )
    return shares


def main_effects(players: Sequence[str], value: Value) -> dict[str, float]:
    """What adding each player does, averaged with equal weight over all combinations of the others."""
    _check(players, value)
    effects = {}
    for player in players:
        groups = list(subsets([other for other in players if other != player]))
        effects[player] = sum(value[group | {player}] - value[group] for group in groups) / len(groups)
    return effects


def interactions(players: Sequence[str], value: Value) -> dict[tuple[str, str], float]:
    """By pair: how much more two players do together than each alone, averaged over combinations of the others.

    0 where damages add up; negative where the second one finds less left to spoil.
    """
    _check(players, value)
    found = {}
    for first, second in combinations(players, 2):
        groups = list(subsets([other for other in players if other not in (first, second)]))
        found[first, second] = sum(
            value[group | {first, second}] - value[group | {first}] - value[group | {second}] + value[group]
            for group in groups
        ) / len(groups)
    return found


def _check(players: Sequence[str], value: Value) -> None:
    missing = [sorted(group) for group in subsets(players) if group not in value]
    if missing:
        raise ValueError(f"there is no value for {missing[0]}: all {2 ** len(players)} combinations are needed")
