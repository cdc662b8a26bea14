"""Sentences about quality, on made-up results in which a careless sentence would be false."""

from gettext import NullTranslations
from types import SimpleNamespace

import pytest

from stages.lib.quality.appearance import MEASURES
from stages.lib.quality.statistics import FEWEST_FOR_SHARES
from stages.lib.reporting.quality_tables import comparison_counts, interval_counts
from stages.lib.reporting.words.answer import _least_faithful, _most_faithful, _smallest
from stages.lib.reporting.words.quality_words import (
    blame_words,
    budget_words,
    rating_words,
    steps_words,
    unmoved_words,
)


def rated(psnr_db: float | None, worst: float | None) -> dict:
    return {"psnr_db": psnr_db, "tails": {} if worst is None else {"psnr_db": {"worst": worst}}}


def test_a_good_word_for_the_mean_names_a_worst_image_that_has_another():
    """FP16: 60.8 dB on the mean, 27.4 dB where the horse changes colour."""
    said = rating_words(rated(60.8, 27.4), str)
    assert said.startswith("excellent; the worst image fair (27.4") and "dB" in said
    assert rating_words(rated(60.8, 41.0), str) == "excellent"
    assert rating_words(rated(None, None), str) == "identical"
    assert rating_words({"psnr_db": 35.0}, str) == "good", "a record of another machine may not say"


def measures(**changes: dict) -> dict:
    rows = {key: {"grade": "none", "detectable": 2 * item.thresholds[0]} for key, item in MEASURES.items()}
    return {key: row | changes.get(key, {}) for key, row in rows.items()}


def test_what_did_not_move_is_named_with_what_would_have_been_seen():
    """Protects against "What is seen: nothing" for images that are mottled all over."""
    said = unmoved_words(measures(mottling={"grade": "moderate"}), str)
    assert said.startswith("Blur 0.040; Fine detail, dB 1.20; Blocks, levels 0.30") and "Mottling" not in said
    assert "Mottling, levels 0.30" in unmoved_words(measures(), str)


def place(n: int, certainty: float, share: float = 0.45) -> dict:
    rows = [{"component": "unet", "share": share, "low": share - 0.2, "high": share + 0.2}]
    rows.append({"component": "text_encoder", "share": 1 - share, "low": 0.1, "high": 0.9})
    leader = {"component": "unet", "certainty": certainty}
    return {"leader": leader, "components": rows, "wholes": [1.0] * n, "tells": n >= FEWEST_FOR_SHARES}


def test_few_images_tell_no_shares_and_a_lead_that_chance_turns_is_none():
    few = blame_words(place(4, 1.0), "W8A8", str)
    assert "n = 4 images cannot tell" in few and "fewer than 12 images" in few and "of these images alone" in few
    turning = blame_words(place(16, 0.8), "W8A8", str)
    assert "is not told" in turning and "only in 80" in turning and "25" in turning and "65" in turning
    sure = blame_words(place(16, 0.99), "W8A8", str)
    assert sure.startswith("In W8A8 the largest part of the damage to images comes from U-Net: 45")
    assert "most of the damage" not in sure, "45 % is not most"
    assert blame_words(place(16, 1.0) | {"leader": None}, "FP16", str) == ""


def windows(*samples: list[float]) -> dict:
    from statistics import median

    rows = [
        {"first": 3 * n, "last": 3 * n + 2, "rms": {"samples": list(row), "median": median(row)}}
        for n, row in enumerate(samples)
    ]
    return {"label": "INT8", "windows": rows, "whole": {"rms": {"median": 9.0}}}


def test_calls_that_hurt_most_by_the_median_alone_are_said_so():
    """Calls 19 to 21 held for the median; in single images other calls were the worst."""
    said = steps_words(windows([8, 1, 9, 1], [2, 3, 2, 3]), 6, str)
    assert "calls 1 to 3 of 6 change an image most by the median of n = 4 images: by 4.50 levels" in said
    assert "In 2 of these images they are the worst. So which calls hurt most, these images do not tell." in said
    clear = steps_words(windows([8, 9, 9, 1], [2, 3, 2, 3]), 6, str)
    assert "In 3 of these" in clear and "do not tell" not in clear


def results(*labels: str, psnr: dict, comparisons: list[dict]) -> SimpleNamespace:
    def item(label: str) -> SimpleNamespace:
        quality = rated(psnr[label], psnr[label]) | {"ssim": 0.9, "images": 5, "identical": 0}
        size = {"disk_mib": 8.16 if label == "A" else 8.14}
        return SimpleNamespace(name=label, label=label, quality=quality, size=size, compression=4.0)

    others = tuple(item(label) for label in labels)
    baseline = SimpleNamespace(name="fp32", label="FP32", size={"disk_mib": 33.0})
    everything = {"variants": (baseline, *others), "others": others, "baseline": baseline}
    return SimpleNamespace(**everything, comparisons=tuple(comparisons))


def compared(one: str, other: str, low: float | None, high: float | None) -> dict:
    return {"reference": one, "variant": other, "psnr_db": {"low": low, "high": high}}


@pytest.mark.parametrize(("low", "high", "tied"), [(-0.5, 0.6, True), (None, None, True), (0.1, 0.6, False)])
def test_the_most_faithful_is_not_alone_where_the_difference_may_be_chance(low, high, tied):
    found = results("A", "B", psnr={"A": 40.2, "B": 40.1}, comparisons=[compared("A", "B", low, high)])
    said = _most_faithful(found, NullTranslations())
    assert said.startswith("A is the most faithful")
    assert ("By PSNR it cannot be told from B." in said) == tied
    assert ("By PSNR it cannot be told from A." in _least_faithful(found, NullTranslations())) == tied


def test_two_sizes_are_not_one():
    """8.16 and 8.14 MiB are no "8.16 MiB each"."""
    found = results("A", "B", psnr={"A": 40.2, "B": 40.1}, comparisons=[])
    assert "A and B are the smallest: 8.16 and 8.14 MiB on disk" in _smallest(found, NullTranslations())


def test_intervals_are_counted_and_those_of_primary_answers_apart():
    """Protects the sentence on how many intervals chance may turn: every lower bound is one, None is none."""
    interval = {"mean": 1, "low": 0, "high": 2}
    other = SimpleNamespace(
        quality={
            "averages": {"ssim": interval, "psnr_db": interval | {"low": None}},
            "distribution": {"kid": interval},
        },
        appearance={"measures": {"blur": interval}},
    )
    primary = ({"variant": "a", "ssim": interval},)
    found = SimpleNamespace(
        primary=primary, comparisons=[{"ssim": interval}] * 40, floor={}, sensitivity={}, others=(other,)
    )
    assert interval_counts(found) == {"primary": 1, "exploratory": 42}
    assert comparison_counts(found) == {"intervals": 40, "chance": 2}


def test_6_bits_below_5_are_explained_by_the_one_layer_behind_it_or_not_at_all():
    """6 bits throughout are worse than a mixture of 5, which reproduces: conv_out alone causes it."""

    def budget(kind: str, bits: float, noise: float) -> dict:
        return {"kind": kind, "mean_bits": bits, "noise": noise}

    def layers(conv_out: float) -> list[dict]:
        return [{"layer": "conv_out", "noise_4_bits": conv_out}, {"layer": "conv_in", "noise_4_bits": 0.01}]

    worse = [budget("mixed", 4.995, 0.0014), budget("uniform", 6.0, 0.0079), budget("uniform", 8.0, 0.0001)]
    said = budget_words(layers(0.03), worse, str).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("6 bits throughout are worse than a mixture of 5.00 bits in the mean. They do not spare")
    assert "conv_out, which alone causes 75 %" in said
    assert "conv_out" not in budget_words(layers(0.01), worse, str), "one of two equal layers"
    better = [budget("mixed", 5.0, 0.008), budget("uniform", 6.0, 0.0079), budget("mixed", 6.0, 0.0001)]
    assert budget_words(layers(0.03), better, str) == ""
