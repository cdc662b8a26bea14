"""Sentences about two models: each is said where its figures say so, and not where they do not."""

from dataclasses import replace

import pytest

from stages.lib.project.params import load_params, variant_of
from stages.lib.quality.statistics import Comparison
from stages.lib.reporting.words.model_words import (
    absent_words,
    answer_words,
    cautions,
    quality_words,
    spare_difference,
    spare_words,
    speed_words,
    uses_words,
)
from stages.lib.results.other_models import ComparedModel, FormatOn, Missing, Row
from stages.lib.results.records import MeasuredVariant
from stages.lib.results.rules import Finding, Rules
from stages.lib.results.scenarios import decide
from stages.lib.results.spared import Spared
from tests.candidates import candidate
from tests.conftest import PROJECT

LABELS = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
WEIGHTS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def item(name: str, speedup: float = 1.0, factor: float = 1.02) -> MeasuredVariant:
    """A format with that speed-up, whose interval goes from it divided to it multiplied by `factor`."""
    variant = variant_of(name=name, label=LABELS[name], backend="torch", weights=WEIGHTS[name])
    timing = {"measured": True, "speedup": speedup, "speedup_low": speedup / factor, "speedup_high": speedup * factor}
    return MeasuredVariant(variant=variant, compression=1.0, size={}, timing=timing, quality={"measured": False})


def model(key: str, speeds: dict[str, float], fingerprint: str = "here", factor: float = 1.02) -> ComparedModel:
    variants = tuple(item(name, speed, 1.0 if name == "fp32" else factor) for name, speed in speeds.items())
    return ComparedModel(key, key.upper(), "fp32", fingerprint, variants, {})


def on(cell: MeasuredVariant, mean: float | None) -> FormatOn:
    return FormatOn(cell, None if mean is None else {"mean": mean}, None, None)


def rows(own: ComparedModel, other: ComparedModel, ssims: dict[str, tuple[float, float]] | None = None) -> list[Row]:
    """Rows of both models' formats; `ssims` are the mean SSIM on each, with intervals of no width."""
    found = []
    for one in own.variants:
        pair = (one, other.find(one.name))
        means = (ssims or {}).get(one.name, (None, None))
        cells = tuple(on(cell, mean) for cell, mean in zip(pair, means, strict=True))
        difference = None
        if None not in means:
            change = means[1] - means[0]
            verdict = "equal" if abs(change) < 0.01 else "higher" if change > 0 else "lower"
            difference = Comparison(change, change, change, change, change, 0.01, 5, verdict)
        found.append(Row(one.name, one.label, cells, (difference,)))
    return found


def speed_sentences(first: dict[str, float], second: dict[str, float], factor: float = 1.02, **more) -> str:
    own, other = model("a", first, factor=factor), model("b", second, factor=factor, **more)
    return speed_words(own, other, 1, rows(own, other), str)


def test_speeds_are_said_of_the_model_that_has_them():
    said = speed_sentences({"fp32": 1, "bf16": 1.5, "fp16": 0.8}, {"fp32": 1, "bf16": 0.9, "fp16": 1.3})
    assert "Faster on A alone, as far as the intervals tell: BF16." in said
    assert "Faster on B alone, as far as the intervals tell: FP16." in said
    assert "on both" not in said
    assert "Fastest on A, as far as the intervals tell: BF16; on B: FP16." in said
    assert "greater on B, intervals apart, in FP16." in said and "smaller on B, intervals apart, in BF16." in said


def test_speeds_within_each_other_s_intervals_are_not_told_apart():
    said = speed_sentences({"fp32": 1, "bf16": 1.5, "fp16": 1.4}, {"fp32": 1, "bf16": 1.4, "fp16": 1.5}, factor=1.2)
    assert "Faster than the reference on both: BF16, FP16." in said
    assert "intervals apart" not in said
    assert "Fastest on A, as far as the intervals tell: BF16 or FP16; on B: BF16 or FP16." in said


def test_speeds_of_different_machines_are_not_compared():
    assert speed_sentences({"fp32": 1, "bf16": 2}, {"fp32": 1, "bf16": 2}, fingerprint="elsewhere") == ""
    other = model("b", {"fp32": 1}, fingerprint="elsewhere")
    assert "B was timed on another machine (fingerprint elsewhere)" in " ".join(
        cautions([model("a", {"fp32": 1}), other], [], str)
    )


@pytest.mark.parametrize(
    ("second", "order"),
    [
        ((0.9, 0.8, 0.7), "nearly alike on both"),
        ((0.7, 0.8, 0.9), "another order on each"),
        ((0.8, 0.9, 0.7), "another order"),
    ],
)
def test_the_order_of_formats_is_said_by_its_rank_correlation(second, order):
    """Three formats: 1 in the same order, -1 in the contrary, 0.5 with the first two exchanged."""
    own, other = model("a", {"fp32": 1, "bf16": 1, "fp16": 1}), model("b", {"fp32": 1, "bf16": 1, "fp16": 1})
    third = Row("int8", "INT8", (on(own.reference, 0.7), on(own.reference, second[2])), (None,))
    found = [*rows(own, other, {"bf16": (0.9, second[0]), "fp16": (0.8, second[1])}), third]
    assert order in quality_words(own, other, 1, found, str)


def test_whose_images_suffer_more_is_said_format_by_format():
    own, other = model("a", {"fp32": 1, "bf16": 1, "fp16": 1}), model("b", {"fp32": 1, "bf16": 1, "fp16": 1})
    said = quality_words(own, other, 1, rows(own, other, {"bf16": (0.9, 0.95), "fp16": (0.9, 0.8)}), str)
    assert "higher in BF16; lower in FP16." in said and "equal within" not in said
    said = quality_words(own, other, 1, rows(own, other, {"bf16": (0.9, 0.901), "fp16": (0.9, 0.899)}), str)
    assert "equal within 0.01 in BF16 and FP16." in said and "higher" not in said
    assert quality_words(own, other, 1, rows(own, other), str) == ""


def test_rules_that_turn_out_otherwise_are_named():
    params = load_params(PROJECT / "params.yaml")
    own, other = model("a", {"fp32": 1}), model("b", {"fp32": 1})

    def rules(*verdicts: tuple[bool | None, bool | None]) -> list[Rules]:
        keys = ("weights_of_8_bits", "spare_the_ends", "early_calls")
        found = (tuple(Finding(holds, "ssim", {}) for holds in pair) for pair in verdicts)
        return [Rules(key, findings) for key, findings in zip(keys, found, strict=False)]

    count, both, alone, undecided = answer_words(
        own, other, 1, rules((True, True), (True, False), (True, None)), params, str
    )
    assert count.endswith("both decide: 2; alike on both: 1.")
    assert both.startswith("True of both: Weights in INT8")
    assert alone.startswith("True of A alone: The first and the last layer")
    assert undecided == "Left undecided by one of them at least: 1."
    count, alone, neither = answer_words(own, other, 1, rules((False, True), (False, False)), params, str)
    assert count.endswith("both decide: 2; alike on both: 1.")
    assert alone.startswith("True of B alone: Weights in INT8") and neither.startswith("True of neither: The first")
    assert "no rule of thumb" in answer_words(own, other, 1, rules((None, True)), params, str)[0]


def test_what_must_be_spared_is_told_by_kind():
    one = Spared(1, 100, 0.73, 0.0004, (("first and last", 1),), "conv_out")
    two = Spared(4, 90, 0.51, 0.1, (("modulation", 3), ("first and last", 1)), "norm1.linear")
    own, other = model("a", {"fp32": 1}), model("b", {"fp32": 1})
    said = spare_words(own, one, str)
    assert said.startswith("A: 73\u00a0% of the noise") and "1 of 100 layers with 0.04\u00a0% of the weights" in said
    said = spare_difference(own, other, one, two, str)
    assert "on both: first and last." in said and "On B alone: modulation (adaLN)." in said and "On A alone" not in said


def test_scenarios_with_the_same_answer_are_counted():
    scenario = load_params(PROJECT / "params.yaml").scenarios["cpu-only"]
    own, other = model("a", {"fp32": 1}), model("b", {"fp32": 1})
    fast = [candidate("x", speedup=2.0), candidate("y", speedup=1.5)]
    poor = [replace(fast[0], ssim=replace(fast[0].ssim, value=0.5)), fast[1]]
    decisions = [[decide(scenario, fast), decide(scenario, items)] for items in (fast, poor)]
    said = uses_words(own, other, 1, decisions, str)
    assert "answer to: 2; with the same recommended format: 1;" in said and said.endswith("on B: 1.")


def test_what_is_missing_names_the_command():
    for reason in ("absent", "incomplete", "baseline"):
        assert "make report MODEL=b" in absent_words(Missing("b", "B", reason), str)


def test_another_model_of_the_same_kind_is_not_called_another_architecture():
    said = "it is another model, not another architecture"
    places = {place: {"components": [{"component": place}]} for place in ("embeddings", "latents", "image")}
    traced = {"components": {"formats": [{"probe_points": places}]}}
    own, other = (replace(model(key, {"fp32": 1}), sensitivity=traced) for key in ("a", "b"))
    assert said in " ".join(cautions([own, other], [], str))
    assert said not in " ".join(cautions([own, model("b", {"fp32": 1})], [], str))
