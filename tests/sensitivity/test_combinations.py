"""Taps, words and combinations: nothing quantized is no damage, and every figure has its closed form."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from stages.lib.generation.safety import decide
from stages.lib.models.assembly import load_pipeline
from stages.lib.sensitivity.combinations import Generated, blame, damage, format_report, points_of
from stages.lib.sensitivity.criticality import decision_effect, image_effect
from stages.lib.sensitivity.probe_points import (
    cosine,
    is_beyond,
    mean_square_error,
    noise_to_signal,
    safety_margin,
    snr_db,
)
from stages.lib.sensitivity.shapley import subsets
from tests.reference import COMPONENTS

PLAYERS = dict(zip(("denoiser", "decoder", "text_encoders", "safety_checker"), COMPONENTS, strict=True))


def generated(embedding: float = 0, latent: float = 0, level: int = 0, margin: float | None = -0.1) -> Generated:
    """What a prompt gave, with an error of so much at each tap."""
    embeddings = torch.tensor([[1.0, embedding]])
    latents = torch.tensor([3.0, 4.0 + latent])
    return Generated(embeddings, latents, np.full((16, 16, 3), 100 + level, np.uint8), margin)


def all_combinations(effects: dict[str, dict]) -> dict[frozenset[str], Generated]:
    """Sixteen combinations in which the errors of single components add up."""
    found = {}
    for size in range(5):
        for group in combinations(COMPONENTS, size):
            total: dict[str, float] = {}
            for component in group:
                for key, value in effects.get(component, {}).items():
                    total[key] = total.get(key, 0) + value
            shift = total.pop("margin", 0)
            found[frozenset(group)] = generated(**total, margin=-0.1 + shift)
    return found


def test_equal_things_have_no_damage():
    assert damage(generated(), generated()) == {"embeddings": 0, "latents": 0, "image": 0, "safety": 0}
    assert snr_db(0) is None


def test_the_measures_have_their_closed_forms():
    assert cosine(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert noise_to_signal(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])) == pytest.approx(0.01)
    assert snr_db(0.01) == pytest.approx(20)
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 200, np.uint8)
    assert mean_square_error(black, grey) == mean_square_error(grey, black) == 40000


def test_every_word_is_reached_and_worse_is_never_milder():
    order = ["negligible", "minimal", "moderate", "significant"]
    words = [image_effect(value) for value in (None, 60, 50, 49.9, 40, 39.9, 30, 29.9, 5)]
    assert words == sorted(words, key=order.index) and set(words) == set(order)
    margins = [decision_effect(0, [-0.1], [shift]) for shift in (0, 0.009, 0.02, 0.04, 0.06)]
    assert margins == sorted(margins, key=order.index) and set(margins) == set(order)
    assert decision_effect(1, [-0.1], [0.0]) == "significant"


def test_nothing_quantized_has_no_effect():
    report = format_report([all_combinations({})] * 2, PLAYERS, 200, 0)
    assert len(report["combinations"]) == 16
    for row in report["combinations"]:
        assert (row["psnr_db"], row["identical"], row["latent_snr_db"], row["flips"]) == (None, 2, None, 0)
    for tap in report["probe_points"].values():
        assert tap["total"] == tap["damaged"] == 0 and all(row["share"] is None for row in tap["components"])
    assert {row["effect"] for row in report["components"]} == {"negligible"}


def test_shares_add_up_at_every_tap_and_only_upstream_components_have_some():
    effects = {
        "text_encoder": {"embedding": 0.3, "latent": 0.2, "level": 1},
        "unet": {"latent": 1.0, "level": 9},
        "vae": {"level": 4},
        "safety_checker": {"margin": 0.03},
    }
    probe_points = format_report([all_combinations(effects)], PLAYERS, 200, 0)["probe_points"]
    for tap, players in points_of(PLAYERS).items():
        rows = probe_points[tap]["components"]
        assert [row["component"] for row in rows] == list(players)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert sum(row["shapley"] for row in rows) == pytest.approx(probe_points[tap]["total"])
    shares = {row["component"]: row["share"] for row in probe_points["image"]["components"]}
    assert shares["unet"] > shares["vae"] > shares["text_encoder"] > 0


def test_a_share_is_the_ratio_of_sums_and_four_images_cannot_tell_it():
    """The mean of the shares 5, -42, 44 and 7 % is 3.5 %; of the sums of damage it is 31 %."""
    wholes, text = (1.0, 1.0, 9.46, 1.0), (0.05, -0.42, 0.44, 0.07)
    values = []
    for whole, share in zip(wholes, text, strict=True):
        parts = {"text_encoder": share * whole, "unet": (1 - share) * whole}
        values.append({group: sum(parts[player] for player in group) for group in subsets(tuple(parts))})
    found = blame(("text_encoder", "unet"), values, 500, 0)
    rows = {row["component"]: row for row in found["components"]}
    assert rows["text_encoder"]["share"] == pytest.approx(0.31, abs=0.001)
    assert rows["text_encoder"]["images"] == pytest.approx([s * w for s, w in zip(text, wholes, strict=True)])
    assert rows["unet"]["low"] <= rows["unet"]["share"] <= rows["unet"]["high"]
    assert found["leader"]["component"] == "unet" and found["wholes"] == pytest.approx(wholes)
    assert not found["tells"]
    assert blame(("text_encoder", "unet"), values * 3, 500, 0)["tells"]


def test_a_word_for_the_mean_stands_beside_the_worst_image():
    """Negligible on the mean and significant in one image: 60.7, 61, 60.4 and 28.3 dB."""
    mild, hard = {"text_encoder": {"level": 1}}, {"text_encoder": {"level": 60}}
    report = format_report([all_combinations({}), all_combinations(mild), all_combinations(hard)], PLAYERS, 200, 0)
    row = next(row for row in report["components"] if row["component"] == "text_encoder")
    assert row["worst"] == 2 and row["psnr_worst_db"] == pytest.approx(20 * math.log10(255 / 60))
    assert row["effect_worst"] == "significant" and row["effect"] == "moderate"
    row = next(row for row in report["components"] if row["component"] == "vae")
    assert (row["effect"], row["effect_worst"], row["worst"], row["psnr_worst_db"]) == ("negligible",) * 2 + (None,) * 2


def test_a_changed_decision_is_counted():
    """The margin crosses zero by the checker alone."""
    report = format_report([all_combinations({"safety_checker": {"margin": 0.2}})], PLAYERS, 200, 0)
    rows = {row["component"]: row for row in report["components"]}
    assert rows["safety_checker"]["flips"] == 1 and rows["safety_checker"]["effect"] == "significant"
    assert rows["unet"]["flips"] == 0 and rows["safety_checker"]["criticality"] == "high"


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
@pytest.mark.parametrize("special", [-1.0, 2.0])
def test_the_margin_decides_as_diffusers_does(tiny_model, threshold, special):
    """Protects the margin from leaving diffusers' own decision, with and without special care."""
    pipeline = load_pipeline(tiny_model)
    checker = pipeline.safety_checker
    rng = np.random.default_rng(0)
    checker.concept_embeds.data = torch.tensor(rng.normal(size=tuple(checker.concept_embeds.shape))).float()
    checker.special_care_embeds.data = torch.tensor(rng.normal(size=tuple(checker.special_care_embeds.shape))).float()
    image = pipeline.image_processor.numpy_to_pil(rng.random((1, 32, 32, 3)))[0]
    pixels = pipeline.feature_extractor([image], return_tensors="pt").pixel_values
    checker.special_care_embeds_weights.data.fill_(special)
    checker.concept_embeds_weights.data.fill_(threshold)
    assert is_beyond(safety_margin(checker, pixels)) == decide(pipeline, image).flagged == (threshold < 0)
    # On the edge: what special care adds decides.
    checker.concept_embeds_weights.data.fill_(0)
    best = safety_margin(checker, pixels) - (0.01 if special < 0 else 0)
    checker.concept_embeds_weights.data.fill_(best + 0.005)
    assert is_beyond(safety_margin(checker, pixels)) == decide(pipeline, image).flagged == (special < 0)


def test_without_a_safety_checker_and_with_text_encoders_as_one_nothing_is_said_of_a_checker():
    """Protects SDXL and all models without a checker: three players, three points, no margin."""
    players = {"denoiser": "unet", "decoder": "vae", "text_encoders": "text_encoders"}
    plain, worse = (generated(level=level, latent=level, margin=None) for level in (0, 8))
    combinations_of = {group: worse if "unet" in group else plain for group in subsets(tuple(players.values()))}
    report = format_report([combinations_of], players, 200, 0)
    assert list(report["probe_points"]) == ["embeddings", "latents", "image"]
    assert [row["component"] for row in report["components"]] == list(players.values())
    assert {row["margin_shift"] for row in report["combinations"]} == {None}
    shares = {row["component"]: row["share"] for row in report["probe_points"]["image"]["components"]}
    assert shares == {"text_encoders": 0, "unet": 1, "vae": 0}
