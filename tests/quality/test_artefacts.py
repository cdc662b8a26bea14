"""Looking for damage: none where there is none, each kind found under its own name, more of it never a weaker word."""

import random

import numpy as np
import pytest

from stages.lib.project.params import Variant
from stages.lib.project.prompts import load_prompts
from stages.lib.quality.appearance import (
    GRADES,
    MEASURES,
    interval,
    judge,
    judge_all,
    picture_row,
    seen,
    why_black,
)
from stages.lib.quality.artefacts import Figures, figures_of
from stages.lib.quality.detection import ANSWERS, detection_limits
from stages.lib.quality.figures import known_artefacts
from stages.lib.quality.known_artefacts import DAMAGES, LADDERS
from tests.conftest import PROJECT
from training.scenes import example

COLOURS = {"lightness", "green_red", "blue_yellow"}
# What a kind of damage may also be called: two of them blur, a tint has several axes.
OWN = {**{kind: set(answers) for kind, answers in ANSWERS.items()}, "tint": COLOURS}
# Coarse JPEG leaves few tones, and a tint that clips leaves gaps in them: true, so allowed.
ALSO = {("jpeg", 10): {"posterization_bits"}, ("tint", 0.2): {"posterization_bits"}}


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    """Scenes as the embedded model learned them, drawn by the program: sharp, clean, 256 x 256."""
    return [example(900_000 + number)[0] for number in range(8)]


@pytest.fixture(scope="module")
def generated() -> list[np.ndarray]:
    """Pictures that the embedded model draws in eight steps."""
    from stages.lib.formats import torch as backend
    from stages.lib.generation.noise import initial_latents
    from stages.lib.generation.sampling import draw_picture

    exact = Variant(name="fp32", label="FP32", backend="torch", weights="float32")
    pipeline = backend.load(PROJECT / "data/embedded", exact, "cpu")
    prompts = load_prompts(PROJECT / "data/prompts.csv", None)[::5][:6]
    return [
        np.asarray(draw_picture(pipeline, "fp32", item.prompt, initial_latents((4, 32, 32), item.seed), 8, 7.5))
        for item in prompts
    ]


@pytest.fixture(scope="module", params=["scenes", "generated"])
def clean(request) -> tuple[list[np.ndarray], list[Figures]]:
    pictures = request.getfixturevalue(request.param)
    assert len(pictures) >= 6
    return pictures, [figures_of(picture) for picture in pictures]


def words(before: list[Figures], pictures: list[np.ndarray]) -> dict[str, str]:
    judged = judge_all(before, [figures_of(picture) for picture in pictures])
    return {key: judged[key]["grade"] for key in seen(judged)}


def test_a_copy_has_no_damage(clean):
    """Protects against a word without a cause: every shift is 0, its interval a point, its grade none."""
    pictures, before = clean
    for item in judge_all(before, [figures_of(picture.copy()) for picture in pictures]).values():
        assert (item["shift"], item["low"], item["high"], item["grade"], item["pictures"]) == (0, 0, 0, "none", 0)


@pytest.mark.parametrize("kind", DAMAGES)
def test_known_damage_has_its_own_word_and_no_other(clean, kind):
    """Protects the words of Table 9: the middle and all stronger strengths are seen, under their own names only."""
    pictures, before = clean
    for strength in LADDERS[kind][2:]:
        found = words(before, [DAMAGES[kind](picture, strength) for picture in pictures])
        assert set(found) & set(ANSWERS[kind]), strength
        assert set(found) <= OWN[kind] | ALSO.get((kind, strength), set()), (strength, found)
    assert any(found[key] == "strong" for key in ANSWERS[kind] if key in found)


@pytest.mark.parametrize("kind", DAMAGES)
def test_more_damage_is_never_a_weaker_word(clean, kind):
    """Protects the order of strengths: grade and figure follow the ladder."""
    pictures, before = clean
    key = ANSWERS[kind][-1]
    shifts, grades = [], []
    for strength in LADDERS[kind]:
        judged = judge_all(before, [figures_of(DAMAGES[kind](picture, strength)) for picture in pictures])
        shifts.append(abs(judged[key]["shift"]))
        grades.append(GRADES.index(judged[key]["grade"]))
    assert shifts == sorted(shifts)
    assert grades == sorted(grades)


def test_pictures_of_something_else_are_not_damaged(scenes):
    """Protects a different but good picture: splitting good pictures at random gives a word in few of 200 trials."""
    figures = [figures_of(picture) for picture in [*scenes, *(example(910_000 + n)[0] for n in range(8))]]
    rng, alarms = random.Random(0), 0
    for _ in range(200):
        rng.shuffle(figures)
        alarms += bool(seen(judge_all(figures[:8], figures[8:])))
    # eight measures at 99 % give at most 8 % where all reach their thresholds
    assert alarms <= 0.08 * 200


def test_a_mirrored_picture_is_not_damaged(scenes):
    """Protects against comparing pixels: PSNR would say that everything changed."""
    before = [figures_of(picture) for picture in scenes]
    assert words(before, [np.ascontiguousarray(picture[:, ::-1]) for picture in scenes]) == {}


def test_noise_is_measured_in_grey_levels(scenes):
    """Closed form: the figure is the standard deviation that was put in."""
    before = np.mean([figures_of(picture).noise for picture in scenes])
    for sigma in (1.0, 4.0):
        after = np.mean([figures_of(known_artefacts.noise(picture, sigma)).noise for picture in scenes])
        assert after - before == pytest.approx(sigma, rel=0.12)


def test_a_posterized_ramp_loses_the_bits_that_were_taken():
    """Closed form: all 256 values, then every fourth: two bits."""
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (32, 1))[..., None], 3, axis=2)
    gain = figures_of((ramp // 4) * 4).posterization_bits - figures_of(ramp).posterization_bits
    assert gain == pytest.approx(2, abs=0.05)


def test_blocks_are_found_where_they_are():
    """A jump at every eighth pixel is measured in grey levels; one at every eighth pixel but three is not blocks."""
    rows, columns = np.mgrid[0:64, 0:64]
    for offset, expected in ((0, 4.0), (3, 0.0)):
        board = 100 + 4 * (((rows + offset) // 8 + (columns + offset) // 8) % 2)
        figures = figures_of(np.repeat(board[..., None], 3, axis=2).astype(np.uint8))
        assert figures.blockiness == pytest.approx(expected, abs=0.01)


def test_the_interval_is_student_s():
    """Known answer: four values, t of three degrees of freedom at 99 % is 5.841."""
    low, high = interval([1.0, 2.0, 3.0, 4.0])
    assert (low + high) / 2 == pytest.approx(2.5)
    assert (high - low) / 2 == pytest.approx(5.841 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-3)


def test_a_large_shift_that_may_be_chance_gets_no_word_and_one_picture_is_not_graded():
    """Protects a reader from two pictures' chance, and from a verdict on one."""
    measure = MEASURES["noise"]
    assert judge(measure, [0.1, 5.0])["grade"] == "none"
    assert judge(measure, [4.0, 5.0, 4.5, 4.8])["grade"] == "strong"
    assert judge(measure, [-4.0, -5.0, -4.5, -4.8])["grade"] == "none"  # less grain is no damage
    assert judge(measure, [5.0])["grade"] is None


def test_a_blank_picture_has_a_cause():
    """Triage: dark in the baseline too, blackened and flagged, or broken; a night scene with stars is none of them."""
    black = np.zeros((32, 32, 3), dtype=np.uint8)
    night = black + np.uint8(12)
    night[::3, ::5] = 60
    gray = np.full_like(black, 128)
    b, n, g = (figures_of(picture) for picture in (black, night, gray))
    assert why_black(n, n, flagged=True) is None
    assert why_black(b, b, flagged=True) == "scene"
    assert why_black(n, b, flagged=True) == "flagged"
    assert why_black(n, b, flagged=False) == why_black(n, g, flagged=True) == "broken"
    assert picture_row("x", n, b, False)["black"] == "broken"


def test_a_black_picture_has_finite_figures():
    """Protects JSON from NaN and infinity."""
    figures = figures_of(np.zeros((16, 16, 3), dtype=np.uint8))
    assert all(np.isfinite(value) for value in vars(figures).values())


@pytest.mark.parametrize("picture", [np.zeros((10, 32, 3), "u1"), np.zeros((32, 32), "u1"), np.zeros((32, 32, 3))])
def test_other_arrays_are_refused(picture):
    with pytest.raises(ValueError, match="uint8"):
        figures_of(picture)


def test_the_limits_of_seeing_are_within_the_ladders(scenes):
    """Protects the table of limits: on clean scenes every kind is seen, weak noise and JPEG at once."""
    limits = detection_limits(scenes[:8])
    assert all(item["weakest"] in item["tried"] for item in limits.values())
    assert limits["noise"]["weakest"] <= 1 and limits["jpeg"]["weakest"] >= 70
