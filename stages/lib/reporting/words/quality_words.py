"""What readers are told of quality beyond a mean: the worst image, damage, who is to blame, which steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.lib.quality.appearance import GRADES, MEASURES
from stages.lib.quality.metrics import rate_psnr
from stages.lib.quality.statistics import FEWEST_FOR_SHARES
from stages.lib.reporting.languages import Translate, number, percent_of
from stages.lib.reporting.numbers import quantity
from stages.lib.reporting.words.names import names_of

SURE = 0.975  # of resamples, in which the largest share stays the largest


def rating_words(quality: Mapping[str, Any], _: Translate) -> str:
    """The rating of the mean PSNR and, where the worst image has another one, that: 'excellent; the worst: fair'."""
    names, mean = names_of("rating", _), rate_psnr(quality["psnr_db"])
    worst = worst_psnr_db(quality)
    if worst is None or rate_psnr(worst) == mean:
        return names[mean]
    values = {"mean": names[mean], "worst": names[rate_psnr(worst)], "psnr": quantity(worst, "psnr_db")}
    return _("%(mean)s; the worst image %(worst)s (%(psnr)s)") % values


def worst_psnr_db(quality: Mapping[str, Any]) -> float | None:
    """The PSNR of the image that changed most; None where all are identical, or where a record does not say."""
    return quality.get("tails", {}).get("psnr_db", {}).get("worst")


def measure_digits() -> dict[str, int]:
    """Decimals shown of each measure."""
    return {key: {"blur": 3, "lightness": 1, "green_red": 1, "blue_yellow": 1}.get(key, 2) for key in MEASURES}


def damage_words(measures: dict[str, dict[str, Any]], _: Translate) -> list[str]:
    """What was seen of one format, the strongest first: 'clearly blurred'; nothing if nothing was seen."""
    effects = {
        "blur": (_("blurred"), _("blurred")),
        "detail_db": (_("poorer in fine detail"), _("poorer in fine detail")),
        "blockiness": (_("blocky"), _("blocky")),
        "posterization_bits": (_("posterized"), _("posterized")),
        "noise": (_("grainy"), _("grainy")),
        "mottling": (_("mottled"), _("mottled")),
        "lightness": (_("darker"), _("brighter")),
        "green_red": (_("greener"), _("redder")),
        "blue_yellow": (_("bluer"), _("yellower")),
    }
    degrees = {
        "slight": _("slightly %(effect)s"),
        "moderate": _("clearly %(effect)s"),
        "strong": _("strongly %(effect)s"),
    }
    graded = [(GRADES.index(measures[key]["grade"]), key) for key in MEASURES if measures[key]["grade"] in degrees]
    graded.sort(key=lambda pair: -pair[0])  # stable: equal grades stay in the order of the measures
    return [degrees[GRADES[number]] % {"effect": effects[key][measures[key]["shift"] > 0]} for number, key in graded]


def unmoved_words(measures: Mapping[str, Mapping[str, Any]], _: Translate) -> str:
    """The measures that were not graded, each with the smallest shift that would have been: 'Blur 0.020; ...'."""
    names, digits = names_of("measure", _), measure_digits()
    return "; ".join(
        f"{names[key]} {number(measures[key]['detectable'], f'.{digits[key]}f')}"
        for key in MEASURES
        if measures[key]["grade"] == "none"
    )


def blame_words(place: Mapping[str, Any], label: str, _: Translate) -> str:
    """Which component damages most with all in the format, as far as these images can tell; '' where nothing is."""
    leader = place["leader"]
    if not leader:
        return ""
    row = next(row for row in place["components"] if row["component"] == leader["component"])
    values = {
        "label": label,
        "component": names_of("component", _)[leader["component"]],
        "share": percent_of(row["share"], ".0f"),
        "n": len(place["wholes"]),
        "fewest": FEWEST_FOR_SHARES,
    }
    if not place["tells"]:
        text = _(
            "Which component damages images most in %(label)s, n = %(n)d images cannot tell: the largest share of "
            "their damage, %(share)s, is that of %(component)s, but of fewer than %(fewest)d images an interval holds "
            "the true share much less often than it says. Shares and intervals are of these images alone."
        )
        return text % values
    values |= {"low": percent_of(row["low"], ".0f"), "high": percent_of(row["high"], ".0f")}
    if leader["certainty"] < SURE:
        values["certainty"] = percent_of(leader["certainty"], ".0f")
        text = _(
            "Which component damages images most in %(label)s is not told: the largest share, %(share)s (95 %% "
            "interval %(low)s to %(high)s), is that of %(component)s, but only in %(certainty)s of the resamples of "
            "n = %(n)d images."
        )
        return text % values
    text = _(
        "In %(label)s the largest part of the damage to images comes from %(component)s: %(share)s of it (95 %% "
        "interval %(low)s to %(high)s, n = %(n)d images)."
    )
    return text % values


def steps_words(item: Mapping[str, Any], calls: int, _: Translate) -> str:
    """Which window of calls of the denoiser hurts most by the median in a format, and whether single images agree."""
    windows, whole = item["windows"], item["whole"]
    samples = [window["rms"]["samples"] for window in windows]
    worst = max(range(len(windows)), key=lambda index: windows[index]["rms"]["median"])
    largest = [max(image) for image in zip(*samples, strict=True)]
    own = sum(value == most for value, most in zip(samples[worst], largest, strict=True))
    values = {
        "label": item["label"],
        "first": windows[worst]["first"] + 1,
        "last": windows[worst]["last"] + 1,
        "calls": calls,
        "rms": number(windows[worst]["rms"]["median"], ".2f"),
        "whole": number(whole["rms"]["median"], ".2f"),
        "n": len(largest),
        "own": own,
    }
    text = _(
        "With the denoiser in %(label)s, calls %(first)d to %(last)d of %(calls)d change an image most by the median "
        "of n = %(n)d images: by %(rms)s levels (root mean square), all calls together by %(whole)s. In %(own)d of "
        "these images they are the worst."
    )
    found = text % values
    if 2 * own <= len(largest):
        found += " " + _("So which calls hurt most, these images do not tell.")
    return found


def budget_words(layers: Sequence[Mapping[str, Any]], budgets: Sequence[Mapping[str, Any]], _: Translate) -> str:
    """That equal bits throughout are worse than a mixture with fewer, and the one layer behind it; '' if they are not.

    The layer is named where it alone causes most of the noise variance that single layers add up to at 4 bits.
    """
    pairs = [
        (row["mean_bits"], other["mean_bits"])
        for row in budgets
        for other in budgets
        if (row["kind"], other["kind"]) == ("uniform", "mixed")
        and other["mean_bits"] < row["mean_bits"]
        and other["noise"] < row["noise"]
    ]
    if not pairs:
        return ""
    uniform, mixed = min(pairs)
    text = _("%(uniform)s bits throughout are worse than a mixture of %(mixed)s bits in the mean.")
    found = text % {"uniform": number(uniform, ".0f"), "mixed": number(mixed, ".2f")}
    noise = {row["layer"]: row["noise_4_bits"] for row in layers}
    worst = max(noise, key=noise.__getitem__)
    if (share := noise[worst] / sum(noise.values())) > 0.5:
        text = _(
            "They do not spare %(layer)s, which alone causes %(share)s of the noise variance that single layers add up "
            "to at 4 bits."
        )
        found += " " + text % {"layer": worst, "share": percent_of(share, ".0f")}
    return found
