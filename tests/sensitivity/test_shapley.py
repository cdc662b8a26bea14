"""Shapley values and factorial effects: they add up, and agree with closed forms."""

from itertools import permutations

import pytest

from stages.lib.sensitivity.shapley import interactions, main_effects, shapley_values, subsets

PLAYERS = ("unet", "vae", "text_encoder", "safety_checker")
WEIGHTS = {"unet": 5.0, "vae": 2.0, "text_encoder": 0.5, "safety_checker": 0.0}


def game(value) -> dict[frozenset[str], float]:
    """The value of every set of players."""
    return {group: float(value(group)) for group in subsets(PLAYERS)}


ADDITIVE = game(lambda group: sum(WEIGHTS[player] for player in group))
# One bad player spoils everything: whoever comes second finds nothing left to spoil.
SATURATED = game(lambda group: min(5.0, sum(WEIGHTS[player] for player in group)))
CROSSED = game(lambda group: 3.0 * ({"unet", "vae"} <= group) + 1.0 * ("text_encoder" in group))


def test_all_combinations_are_enumerated_once():
    groups = list(subsets(PLAYERS))
    assert len(groups) == len(set(groups)) == 16 and groups[0] == frozenset()


@pytest.mark.parametrize("value", [ADDITIVE, SATURATED, CROSSED], ids=["additive", "saturated", "crossed"])
def test_shares_add_up_to_the_whole(value):
    whole = value[frozenset(PLAYERS)] - value[frozenset()]
    assert sum(shapley_values(PLAYERS, value).values()) == pytest.approx(whole)


def test_damages_that_add_up_are_shared_as_they_are():
    """Closed form of an additive game: everyone's own damage, no interactions, main effect = Shapley value."""
    assert shapley_values(PLAYERS, ADDITIVE) == pytest.approx(WEIGHTS)
    assert main_effects(PLAYERS, ADDITIVE) == pytest.approx(WEIGHTS)
    assert list(interactions(PLAYERS, ADDITIVE).values()) == pytest.approx([0] * 6)


def test_what_two_do_together_is_halved():
    """Closed form of a unanimity game: 3 for U-Net and VAE together is 1.5 each, and an interaction of 3."""
    assert shapley_values(PLAYERS, CROSSED) == pytest.approx(
        {"unet": 1.5, "vae": 1.5, "text_encoder": 1.0, "safety_checker": 0.0}
    )
    found = interactions(PLAYERS, CROSSED)
    assert found["unet", "vae"] == pytest.approx(3.0)
    assert found["unet", "text_encoder"] == pytest.approx(0.0)


@pytest.mark.parametrize("value", [SATURATED, CROSSED], ids=["saturated", "crossed"])
def test_it_is_the_mean_over_all_orders(value):
    """The definition: what a player adds when it comes, averaged over the 24 orders of coming."""
    orders = list(permutations(PLAYERS))
    for player, share in shapley_values(PLAYERS, value).items():
        added = [value[frozenset(o[: o.index(player) + 1])] - value[frozenset(o[: o.index(player)])] for o in orders]
        assert share == pytest.approx(sum(added) / len(orders))


def test_who_does_nothing_gets_nothing():
    for value in (ADDITIVE, SATURATED, CROSSED):
        assert shapley_values(PLAYERS, value)["safety_checker"] == 0


def test_saturation_is_a_negative_interaction():
    assert interactions(PLAYERS, SATURATED)["unet", "vae"] < 0


def test_a_missing_combination_is_named():
    with pytest.raises(ValueError, match="no value for .*vae"):
        shapley_values(PLAYERS, {g: v for g, v in ADDITIVE.items() if g != frozenset({"vae"})})
