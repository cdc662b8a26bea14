"""The model's own CLIP tells drawings apart; its labels are the grammar's."""

import json
import random
import re
import shutil

import numpy as np
import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.prompts import load_prompts
from stages.lib.quality import alignment
from stages.lib.quality.clip_features import Clip, find_clip
from tests.conftest import PROJECT

MODEL = PROJECT / "data/embedded"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return find_clip(MODEL)


@pytest.fixture(scope="module")
def prompts() -> list:
    return load_prompts(PROJECT / "data/prompts.csv", None)


def test_features_have_length_one_and_a_text_that_is_too_long_is_cut(clip):
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    for found in (clip.image_features(images), clip.text_features(["a cat", "a cat " * 50, ""])):
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_a_tokenizer_need_not_say_how_long_a_text_may_be(clip, tmp_path):
    """Protects models whose tokenizer_config.json has no model_max_length."""
    shutil.copytree(MODEL, tmp_path / "model", ignore=shutil.ignore_patterns("unet", "vae", "*.jpg"))
    path = tmp_path / "model/tokenizer/tokenizer_config.json"
    settings = read_json(path)
    del settings["model_max_length"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    texts = ["a cat", "a cat " * 50]
    assert (find_clip(tmp_path / "model").text_features(texts) == clip.text_features(texts)).all()


def test_a_image_has_the_same_features_in_any_company(clip):
    """Protects pairing: no figure of an image depends on its neighbours in the batch."""
    images = np.random.default_rng(1).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    together = clip.image_features(images)
    assert np.abs(together[17] - clip.image_features(images[17:18])[0]).max() < 1e-6


def test_a_model_without_a_clip_has_none_and_a_missing_model_is_an_error(tmp_path):
    (tmp_path / "base").mkdir()
    assert find_clip(tmp_path / "base") is None
    with pytest.raises(UserError, match="dvc repro download"):
        find_clip(tmp_path / "missing")


def test_the_labels_are_the_grammars_and_every_prompt_is_read_as_it_reads_it(clip, prompts):
    """Protects clip/attributes.json from parting with training/captions.py; colour and style may be unnamed."""
    from training.captions import attribute_classes, full_caption, parse
    from training.scenes import sample_scene

    assert read_json(MODEL / "clip/attributes.json") == attribute_classes()
    captions = [full_caption(sample_scene(random.Random(seed))) for seed in range(300)]
    for text in [prompt.prompt for prompt in prompts] + captions + ["nothing of it"]:
        named = {key: value for key, value in (parse(text) or {}).items() if value is not None and key != "campfire"}
        assert alignment.named_attributes(text, clip.attributes) == named, text
    assert alignment.named_attributes("A cute cat sitting on a windowsill", clip.attributes) == {
        "subject": "cat",
        "place": "windowsill",
    }
    for entry in clip.attributes:
        for item in entry["labels"]:
            assert item["pattern"] is None or re.compile(item["pattern"])


def test_drawings_are_recognised_and_a_swapped_prompt_is_not(clip):
    """Protects the check itself on drawings whose content is known: nearly all right, nearly none against another."""
    from training.captions import full_caption
    from training.scenes import example

    drawn = [example(seed) for seed in range(900_000, 900_024)]
    captions = [full_caption(scene) for _, _, scene in drawn]
    features = clip.image_features(np.stack([image for image, _, _ in drawn]))
    texts = clip.text_features(alignment.class_texts(clip.attributes))
    checks = alignment.check_attributes(captions, features, texts, clip.attributes)
    swapped = alignment.check_attributes(captions[1:] + captions[:1], features, texts, clip.attributes)
    counts = alignment.count_right(checks, checks)
    assert counts["subject"]["right"] >= 0.95 * counts["subject"]["asked"]
    assert counts["all"]["right"] >= 0.95 * counts["all"]["asked"]
    assert (counts["all"]["lost"], counts["all"]["gained"]) == (0, 0)
    wrong = alignment.count_right(swapped, swapped)["subject"]
    assert wrong["right"] < 0.5 * wrong["asked"]
    own, other = (clip.text_features(texts) for texts in (captions, captions[1:] + captions[:1]))
    assert alignment.clip_scores(features, own).mean() > alignment.clip_scores(features, other).mean() + 5


def test_scores_have_known_values():
    """Protects scale and sign: equal features 100, opposite ones 0; cosine -1 is kept apart from 0."""
    x = np.array([[1.0, 0], [0, 1]])
    assert alignment.clip_scores(x, x).tolist() == [100, 100]
    assert alignment.clip_scores(x, -x).tolist() == [0, 0]
    assert alignment.feature_cosines(x, -x).tolist() == [-1, -1]


def test_lost_and_gained_are_counted_apart():
    """Protects the figure that tells worse from different: one lost and one gained are not nothing."""
    right, wrong = alignment.Check("place", "moon", "moon"), alignment.Check("place", "moon", "mars")
    counts = alignment.count_right([[right], [wrong], [right]], [[wrong], [right], [right]])
    expected = {"asked": 3, "right": 2, "baseline_right": 2, "lost": 1, "gained": 1}
    assert counts == {"all": expected, "place": expected}
