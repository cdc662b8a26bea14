"""Figures of all combinations of quantized components: the damage at each probe point, and who caused it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from stages.lib.quality.metrics import psnr_db
from stages.lib.quality.statistics import FEWEST_FOR_SHARES, lead, shares_of_sums
from stages.lib.sensitivity.criticality import CRITICALITY, decision_effect, image_effect
from stages.lib.sensitivity.probe_points import cosine, is_beyond, mean_square_error, noise_to_signal, snr_db
from stages.lib.sensitivity.shapley import interactions, main_effects, shapley_values, subsets

if TYPE_CHECKING:
    import numpy as np
    import torch

# Which roles can damage what is seen at each probe point, upstream first.
PROBE_POINTS = {
    "embeddings": ("text_encoders",),
    "latents": ("text_encoders", "denoiser"),
    "image": ("text_encoders", "denoiser", "decoder"),
    "safety": ("text_encoders", "denoiser", "decoder", "safety_checker"),
}
Group = frozenset[str]


@dataclass(frozen=True)
class Generated:
    """What one combination gives for one prompt, probe point by probe point."""

    embeddings: "torch.Tensor"
    latents: "torch.Tensor"
    image: "np.ndarray"
    margin: float | None  # None: the model has no safety checker


def damage(reference: Generated, generated: Generated) -> dict[str, float]:
    """The damage at each probe point, 0 where nothing differs.

    embeddings: 1 - cosine. latents: noise-to-signal ratio. image: mean square error in levels squared. safety: the
    distance that the margin moved.
    """
    return {
        "embeddings": 1 - cosine(reference.embeddings, generated.embeddings),
        "latents": noise_to_signal(reference.latents, generated.latents),
        "image": mean_square_error(reference.image, generated.image),
    } | ({} if reference.margin is None else {"safety": abs(generated.margin - reference.margin)})


def points_of(players: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Probe points of a model, with the players that can damage them; `players` are the names of roles' networks."""
    return {
        point: tuple(players[role] for role in roles if role in players)
        for point, roles in PROBE_POINTS.items()
        if roles[-1] in players
    }


def format_report(
    generated: Sequence[Mapping[Group, Generated]], players: Mapping[str, str], resamples: int, seed: int
) -> dict:
    """One format: `generated` has, for each image, every combination of quantized `players`, the names by role.

    `combinations` are all of them, `probe_points` the effects of players at each point, `components` their effects
    alone. Intervals are from so many `resamples` of the images, drawn from `seed`.
    """
    damages = [{group: damage(one[frozenset()], item) for group, item in one.items()} for one in generated]
    names = tuple(players.values())
    rows = {group: _combination(group, names, generated, damages) for group in subsets(names)}
    probe_points = {
        point: blame(
            able, [{group: item[group][point] for group in subsets(able)} for item in damages], resamples, seed
        )
        for point, able in points_of(players).items()
    }
    return {
        "combinations": list(rows.values()),
        "probe_points": probe_points,
        "components": [
            _component(name, role, rows[frozenset({name})], generated, probe_points["image"])
            for role, name in players.items()
        ],
    }


def _combination(
    group: Group, names: Sequence[str], generated: Sequence[Mapping[Group, Generated]], damages: Sequence[Mapping]
) -> dict:
    psnrs = [psnr_db(one[frozenset()].image, one[group].image) for one in generated]
    finite = [value for value in psnrs if value is not None]
    noise = _mean([item[group]["latents"] for item in damages])
    judged = all(one[frozenset()].margin is not None for one in generated)
    return {
        "quantized": [component for component in names if component in group],
        "embedding_cosine": 1 - _mean([item[group]["embeddings"] for item in damages]),
        "latent_snr_db": snr_db(noise),
        "psnr_db": _mean(finite) if finite else None,
        "psnr_images_db": psnrs,
        "identical": len(psnrs) - len(finite),
        "mean_square_error": _mean([item[group]["image"] for item in damages]),
        "margin_shift": _mean([item[group]["safety"] for item in damages]) if judged else None,
        "flips": sum(is_beyond(one[group].margin) != is_beyond(one[frozenset()].margin) for one in generated)
        if judged
        else None,
    }


def blame(players: Sequence[str], values: Sequence[Mapping[Group, float]], resamples: int, seed: int) -> dict:
    """What each of `players` contributes to a damage whose `values` are given by image and combination.

    A share is the sum of a component's Shapley values over the images by the sum of their whole damages, with its 95 %
    interval over images; None where nothing is damaged. `wholes` and `images` are every image's own. `leader` has the
    largest share, and `certainty` is the share of resamples in which it has; `tells` says whether there are enough
    images for any of it to hold for others.
    """
    whole = frozenset(players)
    wholes = [value[whole] for value in values]
    total = sum(wholes)
    parts = [[shapley_values(players, value)[player] for value in values] for player in players]
    shares = shares_of_sums(parts, wholes, resamples, seed) if total else [None] * len(players)
    first, certainty = lead(parts, resamples, seed)
    return {
        "total": _mean(wholes),
        "wholes": wholes,
        "damaged": sum(value > 0 for value in wholes),
        "tells": len(wholes) >= FEWEST_FOR_SHARES,
        "leader": {"component": players[first], "certainty": certainty} if total else None,
        "components": [
            {
                "component": player,
                "alone": _mean([value[frozenset({player})] for value in values]),
                "shapley": _mean(own),
                "images": own,
                "alone_share": sum(value[frozenset({player})] for value in values) / total if total else None,
                "main_effect_share": sum(main_effects(players, v)[player] for v in values) / total if total else None,
                "share": share and share.share,
                "low": share and share.low,
                "high": share and share.high,
            }
            for player, own, share in zip(players, parts, shares, strict=True)
        ],
        "interactions": [
            {"components": list(pair), "share": sum(interactions(players, value)[pair] for value in values) / total}
            for pair in combinations(players, 2)
            if total
        ],
    }


def _component(
    component: str, role: str, alone: Mapping, generated: Sequence[Mapping[Group, Generated]], image: Mapping
) -> dict:
    """A row of Table 11: the effect of the format on this component alone, in words, on the mean and the worst image.

    `worst` is the number of that image; None where all are identical.
    """
    psnrs = {number: value for number, value in enumerate(alone["psnr_images_db"]) if value is not None}
    worst = min(psnrs, key=psnrs.__getitem__, default=None)
    if role == "safety_checker":  # its word is that of the worst image already
        margins = [one[frozenset()].margin for one in generated]
        shifts = [one[frozenset({component})].margin - one[frozenset()].margin for one in generated]
        effect = effect_worst = decision_effect(alone["flips"], margins, shifts)
    else:
        effect, effect_worst = image_effect(alone["psnr_db"]), image_effect(psnrs.get(worst))
    shares = {row["component"]: row["share"] for row in image["components"]}
    return {
        "component": component,
        "effect": effect,
        "effect_worst": effect_worst,
        "worst": worst,
        "psnr_worst_db": psnrs.get(worst),
        "criticality": CRITICALITY[effect],
        "psnr_db": alone["psnr_db"],
        "embedding_cosine": alone["embedding_cosine"],
        "latent_snr_db": alone["latent_snr_db"],
        "flips": alone["flips"],
        "margin_shift": alone["margin_shift"],
        "image_share": shares.get(component),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
