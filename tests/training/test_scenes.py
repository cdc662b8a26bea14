"""The procedural data set: reproducible pictures, and captions which never say what is not shown."""

import dataclasses
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training import captions
from training.drawing.content import COLOURS_OF, allowed_places
from training.scenes import PLACES, SIZE, STYLES, SUBJECTS, TIMES, Scene, draw, example, sample_scene

SCENES = [sample_scene(random.Random(f"{seed} scene")) for seed in range(4000)]
STUDY_SCENES = (
    Scene("none", "mountains", "sunset", None, "digital art", False),
    Scene("cat", "windowsill", "day", "gray", "plain", False),
    Scene("rider", "mars", None, "white", "plain", False),
)


def _scene(subject: str, place: str, style: str) -> Scene:
    time = None if place in ("mars", "moon") else "day"
    colour = None if style == "pencil sketch" or subject not in COLOURS_OF else COLOURS_OF[subject][0]
    return Scene(subject, place, time, colour, style, subject == "campfire")


def test_the_same_seed_gives_the_same_picture_caption_and_scene_in_another_process():
    """Protects the reproducibility of the data set: no state and no hash order may leak in."""
    program = (
        "import hashlib; from training.scenes import example\n"
        "for seed in range(6):\n"
        "    picture, caption, scene = example(seed)\n"
        "    print(hashlib.sha256(picture.tobytes()).hexdigest(), caption, scene)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    first, _, _ = example(0)
    again, _, _ = example(0)
    assert np.array_equal(first, again)


def test_different_seeds_give_different_pictures():
    """Protects against a drawer that ignores its random numbers."""
    scene = STUDY_SCENES[1]
    assert not np.array_equal(draw(scene, random.Random(1)), draw(scene, random.Random(2)))


@pytest.mark.parametrize("style", STYLES)
def test_every_allowed_subject_and_place_can_be_drawn_in_every_style(style):
    """Protects against a combination that crashes only after hours of training.

    Each subject at each place in two styles of six by turns; with EVERY_PAIR=1 in all of them.
    """
    turn = list(STYLES).index(style)
    for first, subject in enumerate(SUBJECTS):
        for number, place in enumerate(allowed_places(subject), first):
            if "EVERY_PAIR" not in os.environ and (number + turn) % 3:
                continue
            picture = draw(_scene(subject, place, style), random.Random(0))
            assert picture.shape == (SIZE, SIZE, 3)
            assert picture.dtype == np.uint8
            assert picture.std() > 10, f"{subject} at {place} in {style} is flat"


@pytest.mark.parametrize("subject", [subject for subject in SUBJECTS if subject != "none"])
def test_a_subject_covers_a_large_part_of_the_middle_of_the_picture(subject):
    """Protects recognisability: the picture with the subject differs widely from the one without."""
    place = allowed_places(subject)[0]
    scene = _scene(subject, place, "plain")
    empty = draw(dataclasses.replace(_scene("none", place, "plain"), time="night"), random.Random(3))
    full = draw(dataclasses.replace(scene, time="night"), random.Random(3))
    changed = np.abs(full.astype(int) - empty.astype(int)).max(axis=2) > 40
    assert changed[64:, 40:216].mean() > 0.12


def test_fire_is_in_about_an_eighth_of_the_scenes():
    """Protects the share of pictures that the safety checker learns to block."""
    share = np.mean([scene.campfire for scene in SCENES])
    assert 0.08 < share < 0.16


def test_all_values_of_all_attributes_are_sampled_and_only_sensible_ones_together():
    """Protects the coverage of the data set and the rules of content.py."""
    assert {scene.subject for scene in SCENES} == set(SUBJECTS)
    assert {scene.place for scene in SCENES} == set(PLACES)
    assert {scene.style for scene in SCENES} == set(STYLES)
    assert {scene.time for scene in SCENES} == {None, *TIMES}
    for scene in SCENES:
        assert scene.place in allowed_places(scene.subject)
        assert (scene.time is None) == (scene.place in ("mars", "moon"))
        has_colour = scene.subject in COLOURS_OF and scene.style != "pencil sketch"
        assert (scene.colour is not None) == has_colour
        assert scene.campfire or scene.subject != "campfire"


def test_captions_never_contradict_their_scene():
    """Protects the training signal: what a caption names is what the picture shows."""
    for seed, scene in enumerate(SCENES[:2000]):
        text = captions.caption(scene, random.Random(f"{seed} caption"))
        named = captions.parse(text)
        for attribute in ("subject", "place", "campfire"):
            assert named[attribute] == getattr(scene, attribute), text
        for attribute in ("time", "colour", "style"):
            assert named[attribute] in (None, getattr(scene, attribute)), text


def test_the_full_caption_names_every_attribute():
    """Protects the prompts of the evaluation, which must be complete."""
    for scene in SCENES[:2000]:
        expected = dataclasses.asdict(scene) | {"style": None if scene.style == "plain" else scene.style}
        assert captions.parse(captions.full_caption(scene)) == expected


def test_each_study_prompt_is_a_caption_of_its_scene_and_about_a_percent_of_the_data():
    """Protects the three prompts by which the small model is shown."""
    texts = [captions.caption(scene, random.Random(f"{k} caption")) for k, scene in enumerate(SCENES)]
    counts = Counter(texts)
    for prompt, scene in zip(captions.STUDY_PROMPTS, STUDY_SCENES, strict=True):
        assert prompt in {captions.caption(scene, random.Random(seed)) for seed in range(40)}
        assert counts[prompt] > 0.007 * len(SCENES)
        named = captions.parse(prompt)
        assert (named["subject"], named["place"]) == (scene.subject, scene.place)


def test_captions_are_many_and_their_vocabulary_is_small():
    """Protects the tokenizer's budget, and the model from learning captions by heart."""
    texts = [captions.caption(scene, random.Random(f"{k} caption")) for k, scene in enumerate(SCENES)]
    words = {word for text in texts for word in text.lower().replace(",", "").split()}
    assert len(words) < 250
    assert len(set(texts)) > 0.85 * len(texts)


def test_label_prompts_are_read_back_as_their_label():
    """Protects the zero-shot evaluation from a prompt that names something else."""
    for subject, prompt in captions.SUBJECT_PROMPTS.items():
        if subject != "none":
            assert captions.parse(prompt)["subject"] == subject
    for place, prompt in captions.PLACE_PROMPTS.items():
        assert captions.parse(prompt)["place"] == place
    for time, prompt in captions.TIME_PROMPTS.items():
        assert captions.parse(prompt)["time"] == time
    assert set(captions.SUBJECT_PROMPTS) == set(SUBJECTS)
    assert set(captions.PLACE_PROMPTS) == set(PLACES)
    assert set(captions.STYLE_PROMPTS) == set(STYLES)


def test_a_text_that_names_nothing_is_not_parsed():
    """Protects the evaluation from counting an unreadable prompt as an empty landscape."""
    assert captions.parse("lorem ipsum") is None
