"""Figures of all combinations of quantized components: the damage at each tap, and who caused it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from stages.lib.project.measurement import Measurement
from stages.lib.project.params import COMPONENTS
from stages.lib.quality.metrics import psnr_db
from stages.lib.sensitivity.criticality import CRITICALITY, decision_effect, image_effect
from stages.lib.sensitivity.probe_points import cosine, is_beyond, mean_square_error, noise_to_signal, snr_db
from stages.lib.sensitivity.shapley import Value, interactions, main_effects, shapley_values, subsets

if TYPE_CHECKING:
    import numpy as np
    import torch

# Which components can damage what is seen at each tap, upstream first.
PROBE_POINTS = {
    "embeddings": ("text_encoder",),
    "latents": ("text_encoder", "unet"),
    "image": ("text_encoder", "unet", "vae"),
    "safety": ("text_encoder", "unet", "vae", "safety_checker"),
}
Group = frozenset[str]


@dataclass(frozen=True)
class Generated:
    """What one combination gives for one prompt, tap by tap."""

    embeddings: "torch.Tensor"
    latents: "torch.Tensor"
    image: "np.ndarray"
    margin: float


def damage(reference: Generated, generated: Generated) -> dict[str, float]:
    """The damage at each tap, 0 where nothing differs.

    embeddings: 1 - cosine. latents: noise-to-signal ratio. image: mean square error in levels squared. safety: the
    distance that the margin moved.
    """
    return {
        "embeddings": 1 - cosine(reference.embeddings, generated.embeddings),
        "latents": noise_to_signal(reference.latents, generated.latents),
        "image": mean_square_error(reference.image, generated.image),
        "safety": abs(generated.margin - reference.margin),
    }


def format_report(generated: Sequence[Mapping[Group, Generated]]) -> dict:
    """One format: `generated` has, for each image, every combination of quantized components.

    `combinations` are all 16, `probe_points` the effects of components at each tap, `components` their effects alone.
    """
    damages = [{group: damage(one[frozenset()], item) for group, item in one.items()} for one in generated]
    rows = {group: _combination(group, generated, damages) for group in subsets(COMPONENTS)}
    probe_points = {tap: _tap(tap, players, damages) for tap, players in PROBE_POINTS.items()}
    return {
        "combinations": list(rows.values()),
        "probe_points": probe_points,
        "components": [
            _component(component, rows[frozenset({component})], generated, probe_points["image"])
            for component in COMPONENTS
        ],
    }


def _combination(group: Group, generated: Sequence[Mapping[Group, Generated]], damages: Sequence[Mapping]) -> dict:
    psnrs = [psnr_db(one[frozenset()].image, one[group].image) for one in generated]
    finite = [value for value in psnrs if value is not None]
    noise = _mean([item[group]["latents"] for item in damages])
    return {
        "quantized": [component for component in COMPONENTS if component in group],
        "embedding_cosine": 1 - _mean([item[group]["embeddings"] for item in damages]),
        "latent_snr_db": snr_db(noise),
        "psnr_db": _mean(finite) if finite else None,
        "psnr_images_db": psnrs,
        "identical": len(psnrs) - len(finite),
        "mean_square_error": _mean([item[group]["image"] for item in damages]),
        "margin_shift": _mean([item[group]["safety"] for item in damages]),
        "flips": sum(is_beyond(one[group].margin) != is_beyond(one[frozenset()].margin) for one in generated),
    }


def _tap(tap: str, players: tuple[str, ...], damages: Sequence[Mapping]) -> dict:
    """Effects at one tap. Shares are parts of an image's own damage (1 is all of it), so that each image counts
    alike; they are means over the images that are damaged there, None if none is."""
    values = [{group: item[group][tap] for group in subsets(players)} for item in damages]
    whole = frozenset(players)
    harmed = [value for value in values if value[whole] > 0]
    return {
        "total": _mean([value[whole] for value in values]),
        "damaged": len(harmed),
        "components": [_shares(player, players, values, harmed) for player in players],
        "interactions": [
            {
                "components": list(pair),
                "share": _mean([interactions(players, value)[pair] / value[whole] for value in harmed]),
            }
            for pair in combinations(players, 2)
            if harmed
        ],
    }


def _shares(player: str, players: tuple[str, ...], values: Sequence[Value], harmed: Sequence[Value]) -> dict:
    """The part of one component: alone, as main effect, and as Shapley value with every image's kept."""
    whole, alone = frozenset(players), frozenset({player})
    shapley = Measurement("", tuple(shapley_values(players, item)[player] / item[whole] for item in harmed) or (0.0,))
    return {
        "component": player,
        "alone": _mean([value[alone] for value in values]),
        "shapley": _mean([shapley_values(players, value)[player] for value in values]),
        "alone_share": _mean([item[alone] / item[whole] for item in harmed]) if harmed else None,
        "main_effect_share": _mean([main_effects(players, i)[player] / i[whole] for i in harmed]) if harmed else None,
        "share": shapley.mean if harmed else None,
        "shapley_share": shapley.as_json() if harmed else None,
    }


def _component(component: str, alone: Mapping, generated: Sequence[Mapping[Group, Generated]], image: Mapping) -> dict:
    """A row of Table 11: the effect of the format on this component alone, in words."""
    if component == "safety_checker":
        margins = [one[frozenset()].margin for one in generated]
        shifts = [one[frozenset({component})].margin - one[frozenset()].margin for one in generated]
        effect = decision_effect(alone["flips"], margins, shifts)
    else:
        effect = image_effect(alone["psnr_db"])
    shares = {row["component"]: row["share"] for row in image["components"]}
    return {
        "component": component,
        "effect": effect,
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
