"""The answer in one paragraph holds for any numbers: each case is worked out by hand."""

from dataclasses import replace
from gettext import NullTranslations

import pytest

from stages.lib.models.inventory import compression_text
from stages.lib.project.params import variant_of
from stages.lib.reporting.words.answer import answer, size_words
from stages.lib.results.records import Results, VariantResult
from stages.lib.results.speeds import stated
from tests.timings import calls_of

FP32 = {"mib": 40.0, "ratios": (0.98, 1.0, 1.02), "psnr": None, "identical": 4}


def result(label: str, mib: float, ratios: tuple | None, psnr: float | None, identical: int = 0) -> VariantResult:
    timing: dict = {"measured": False, "reason": "simulated"}
    if ratios:
        timing = {"measured": True, "extrapolated": False, "baseline_extrapolated": False, "run_peak_mib": 500.0}
        timing["calls"] = calls_of([[ratio] for ratio in ratios])
    return VariantResult(
        variant=variant_of(name=label.lower(), label=label, backend="torch", weights="float32"),
        is_baseline=label == "FP32",
        compression=40 / mib,
        size={"disk_mib": mib},
        timing=timing,
        quality={"measured": True, "psnr_db": psnr, "ssim": 0.9, "images": 4, "identical": identical},
        generated={},
    )


def said(*others: tuple, itself: tuple = FP32["ratios"]) -> str:
    variants = (result("FP32", **FP32 | {"ratios": itself}), *(result(*other) for other in others))
    timings, clock = stated({item.name: item.timing for item in variants}, "fp32")
    variants = tuple(replace(item, timing=timings[item.name]) for item in variants)
    return " ".join(answer(Results({}, variants, (), clock), NullTranslations()))


def test_one_smallest_and_two_equally_small_have_their_grammar():
    assert "A is the smallest: 20.00 MiB on disk, 2.00 times smaller than FP32." in said(("A", 20.0, None, 30.0))
    two = said(("A", 20.0, None, 30.0), ("B", 20.05, None, 31.0))
    assert "A and B are the smallest: 20.00 and 20.05 MiB on disk, 2.00 times smaller than FP32." in two


@pytest.mark.parametrize(
    ("compressions", "words"),
    [
        ([0.5], "2.00 times larger than FP16"),
        ([1.0, 1.001], "as large as FP16"),
        ([3.8, 3.79], "3.80 and 3.79 times smaller than FP16"),
    ],
)
def test_a_format_larger_than_the_model_is_called_so(compressions, words):
    """Protects FP32 of a model published in FP16 from being '0.50 times smaller'."""
    assert size_words(compressions, "FP16", NullTranslations().gettext) == words
    assert compression_text(0.5) == "2.00x larger" and compression_text(2) == "2.00x smaller"


def test_nothing_smaller_is_said():
    assert "No format is smaller than FP32 (40.00 MiB on disk)." in said(("A", 50.0, None, 30.0))


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((1.4, 1.5, 1.6), "A is the fastest: 1.50 times as fast as FP32"),
        (
            (0.9, 1.1, 1.2),
            "No format can be told from FP32 by a greater speed on this machine: the best, A, has a speed-up",
        ),
        ((1.0, 1.01, 1.02), "No format can be told from FP32 by a greater speed"),
        (
            (0.76, 0.8, 0.84),
            "No format is faster than FP32 on this machine: the next, A, generates at 0.80 times its speed",
        ),
        (None, "No other format than FP32 was timed."),
    ],
)
def test_speed_is_claimed_only_beyond_the_reference_s_own_band(ratios, words):
    assert words in said(("A", 20.0, ratios, 30.0))


def test_a_reference_off_itself_takes_the_superlative_away():
    """Protects from 'the fastest' in a run in which FP32 came out slower than itself."""
    text = said(("A", 20.0, (1.9, 2.0, 2.1), 30.0), itself=(0.9, 0.9, 0.9))
    assert "No speed of this run is to be trusted; the greatest speed-up that came out is that of A" in text
    assert "fastest" not in text


def test_formats_whose_intervals_overlap_are_tied_in_speed():
    """Protects from a ranking that the next run turns round: 3.15x and 3.18x, then 2.21x and 2.86x."""
    three = (
        ("A", 20.0, (2.9, 3.0, 3.1), 30.0),
        ("B", 20.0, (2.8, 2.95, 3.1), 30.0),
        ("C", 20.0, (2.0, 2.0, 2.1), 30.0),
    )
    text = said(*three)
    assert "A has the greatest speed-up, 3.00 over FP32" in text and "By speed it cannot be told from B." in text
    assert "fastest" not in text and "is the fastest" in said(three[0], three[2])


def test_a_format_without_timing_is_named_with_the_reason():
    assert "The speed and the memory of A were not measured (simulated: numbers are rounded to integers" in said(
        ("A", 20.0, None, 30.0)
    )


def test_identical_images_beat_every_number_of_decibels():
    text = said(("A", 20.0, None, None, 4), ("B", 20.0, None, 90.0))
    assert "A generates exactly the images of FP32, all 4 of them." in text
    assert "B departs furthest: 90.0 dB (excellent" in text


def test_the_most_and_the_least_faithful_are_told_apart():
    text = said(("A", 20.0, None, 25.0), ("B", 20.0, None, 41.0))
    assert "B is the most faithful: its images agree with those of FP32 to 41.0 dB PSNR on average (excellent" in text
    assert "A departs furthest: 25.0 dB (fair" in text


def test_a_baseline_alone_is_compared_with_nothing():
    assert said() == "FP32 is the only format here, so there is nothing to compare it with."
