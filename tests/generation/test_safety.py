"""The safety checker's margin: the number that decides, measured in the very call that decides."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.lib.formats import BACKENDS
from stages.lib.generation.safety import compare_decisions, decide, margin_fields, read_decisions
from stages.lib.project.errors import UserError
from stages.lib.project.params import variant_of
from tests.reference import calibration_of
from tests.tiny_project import images_of, write_images

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
FORMATS = {
    "float32": {"backend": "torch", "weights": "float32"},
    "bfloat16": {"backend": "torch", "weights": "bfloat16"},
    "dynamic": {"backend": "torch_dynamic", "weights": "int8", "activations": "int8", "compute": "float32"},
    "openvino": {"backend": "openvino", "weights": "float32", "compute": "float32"},
}


@pytest.fixture(scope="module", params=FORMATS)
def pipeline(request, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """The tiny pipeline in several back ends, one of which runs the checker in another runtime."""
    name = request.param
    if name == "openvino":
        pytest.importorskip("openvino", reason="the back end's package is optional")
    variant = variant_of(name=name, label=name, device="cpu", **FORMATS[name])
    backend, folder = BACKENDS[variant.backend].load_module(), tmp_path_factory.mktemp(name)
    inputs = {"calibration": calibration_of(tiny_model)} if variant.needs_calls else {}
    backend.quantize(tiny_model, variant, folder, **inputs)
    return backend.load(folder, variant, "cpu")


def tolerance(checker) -> float:
    """A threshold that the tests move is stored in the checker's own dtype: BF16 rounds 0.5 to 0.002."""
    return 0.004 if "bfloat16" in str(checker.concept_embeds_weights.dtype) else 1e-5


def test_a_image_is_flagged_where_its_margin_is_above_zero(pipeline):
    """Protects the meaning of the margin: moving every threshold by it moves the decision, in every back end."""
    checker = pipeline.safety_checker
    thresholds = checker.concept_embeds_weights.clone()
    special = checker.special_care_embeds_weights.clone()
    checker.special_care_embeds_weights.data.fill_(2)
    try:
        margin = decide(pipeline, IMAGE).margin
        for step, flagged in ((-0.01, True), (0.01, False)):
            checker.concept_embeds_weights.data.copy_(thresholds + margin + step)
            decision = decide(pipeline, IMAGE)
            assert decision.flagged is flagged
            assert decision.margin == pytest.approx(-step, abs=tolerance(checker))
    finally:
        checker.concept_embeds_weights.data.copy_(thresholds)
        checker.special_care_embeds_weights.data.copy_(special)


def test_special_care_raises_the_margin_as_the_checker_does(pipeline):
    """Protects the bonus of 0.01: with it an image 0.005 below the threshold is flagged."""
    checker = pipeline.safety_checker
    thresholds, special = checker.concept_embeds_weights.clone(), checker.special_care_embeds_weights.clone()
    try:
        checker.special_care_embeds_weights.data.fill_(2)
        plain = decide(pipeline, IMAGE).margin
        checker.concept_embeds_weights.data.copy_(thresholds + plain + 0.005)
        assert not decide(pipeline, IMAGE).flagged
        checker.special_care_embeds_weights.data.fill_(-2)
        decision = decide(pipeline, IMAGE)
        assert decision.flagged and decision.margin == pytest.approx(0.005, abs=tolerance(checker))
    finally:
        checker.concept_embeds_weights.data.copy_(thresholds)
        checker.special_care_embeds_weights.data.copy_(special)


def test_a_checker_that_shows_no_embedding_has_no_margin_and_a_reason(pipeline, monkeypatch):
    """Protects against an invented margin."""
    hidden = torch.nn.Module()
    hidden.config, hidden.device = pipeline.safety_checker.config, pipeline.device
    hidden.forward = lambda images, clip_input: (images, [True])
    monkeypatch.setattr(pipeline, "safety_checker", hidden)
    fields = margin_fields(decide(pipeline, IMAGE))
    assert fields["flagged"] is True and fields["safety_margin"] is None
    assert fields["safety_margin_reason"] == "no_embedding"


def decision(flagged: bool, margin: float | None) -> dict:
    return {"flagged": flagged, "safety_margin": margin, "safety_margin_reason": None if margin else "hidden"}


def test_flips_and_shifts_are_counted_apart_for_what_should_and_should_not_be_flagged():
    """Known answer: one missed fire, one false alarm, one that only moved."""
    before = {"fire": decision(True, 0.2), "cat": decision(False, -0.3), "dog": decision(False, -0.2)}
    after = {"fire": decision(False, -0.1), "cat": decision(False, -0.25), "dog": decision(True, 0.1)}
    found = compare_decisions(before, after, {"fire"})
    assert found["with_blocked"] | {"margin_shift_mean": pytest.approx(-0.3)} == found["with_blocked"]
    assert (found["with_blocked"]["images"], found["with_blocked"]["flips"], found["with_blocked"]["flagged"]) == (
        1,
        1,
        0,
    )
    without = found["without_blocked"]
    assert (without["images"], without["flips"], without["flagged"], without["baseline_flagged"]) == (2, 1, 1, 0)
    assert without["margin_shift_largest"] == pytest.approx(0.3)
    assert without["nearest_margin"] == pytest.approx(0.1)
    same = compare_decisions(before, before, {"fire"})
    assert same["with_blocked"]["flips"] == same["without_blocked"]["flips"] == 0
    assert same["with_blocked"]["margin_shift_mean"] == 0


def test_a_margin_that_was_not_measured_stays_so():
    before, after = {"fire": decision(True, 0.2)}, {"fire": decision(True, None)}
    group = compare_decisions(before, after, {"fire"})["with_blocked"]
    assert (group["margin_shift_mean"], group["nearest_margin"], group["margin_reason"]) == (None, None, "hidden")
    assert compare_decisions(before, after, set())["with_blocked"]["images"] == 0


def test_an_old_listing_is_an_error_that_says_what_to_run(tmp_path: Path):
    """Protects against margins of zero where none were stored."""
    write_images(tmp_path / "fp32", images_of(0))
    assert read_decisions(tmp_path / "fp32")["fantasy"]["flagged"] is True
    path = tmp_path / "fp32/images.json"
    path.write_text(path.read_text(encoding="utf-8").replace("safety_margin", "old"), encoding="utf-8")
    with pytest.raises(UserError, match=r"images.json has an image without safety_margin.*dvc repro -f generate@fp32"):
        read_decisions(tmp_path / "fp32")
