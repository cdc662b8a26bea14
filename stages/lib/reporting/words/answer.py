"""The answer in one paragraph: sentences that follow from the numbers, whatever the numbers and the variants are."""

from collections.abc import Sequence
from gettext import NullTranslations

from stages.lib.reporting.languages import Translate, list_of
from stages.lib.reporting.numbers import figure, figures
from stages.lib.reporting.words.names import reason
from stages.lib.reporting.words.quality_words import rating_words
from stages.lib.results.records import Results, VariantResult
from stages.lib.results.speeds import fastest, is_distinguishable

SAME_SIZE = 0.005  # sizes within half a percent count as equal


def answer(results: Results, translations: NullTranslations) -> list[str]:
    """Sentences on size, speed, fidelity, and what was not measured."""
    if not results.others:
        text = translations.gettext("%(baseline)s is the only format here, so there is nothing to compare it with.")
        return [text % {"baseline": results.baseline.label}]
    quality = (_most_faithful, _least_faithful) if results.illustrated else (_no_quality,)
    sentences = [said(results, translations) for said in (_smallest, _fastest, *quality, _unmeasured)]
    return [sentence for sentence in sentences if sentence]


def _smallest(results: Results, translations: NullTranslations) -> str:
    least = min(result.size["disk_mib"] for result in results.variants)
    smallest = [r for r in results.variants if r.size["disk_mib"] <= least * (1 + SAME_SIZE)]
    baseline = results.baseline
    if baseline in smallest:
        text = translations.gettext("No format is smaller than %(baseline)s (%(size)s MiB on disk).")
        return text % {"baseline": baseline.label, "size": figure("disk_mib", baseline.size["disk_mib"])}
    text = translations.ngettext(
        "%(labels)s is the smallest: %(size)s MiB on disk, %(ratio)s.",
        "%(labels)s are the smallest: %(size)s MiB on disk, %(ratio)s.",
        len(smallest),
    )
    sizes = dict.fromkeys(figure("disk_mib", result.size["disk_mib"]) for result in smallest)
    ratio = size_words([result.compression for result in smallest], baseline.label, translations.gettext)
    labels = list_of([result.label for result in smallest])
    return text % {"labels": labels, "size": list_of(list(sizes)), "ratio": ratio}


def size_words(compressions: Sequence[float], baseline: str, _: Translate) -> str:
    """'2.00 times smaller than FP32', or larger where a compression is below 1, or as large."""
    ratios = list(dict.fromkeys(figure("compression", max(ratio, 1 / ratio)) for ratio in compressions))
    if ratios == [figure("compression", 1)]:
        return _("as large as %(baseline)s") % {"baseline": baseline}
    larger, smaller = _("%(ratio)s times larger than %(baseline)s"), _("%(ratio)s times smaller than %(baseline)s")
    return (larger if min(compressions) < 1 else smaller) % {"ratio": list_of(ratios), "baseline": baseline}


def _fastest(results: Results, translations: NullTranslations) -> str:
    _, baseline = translations.gettext, results.baseline.label
    timed = {result.name: result for result in results.others if result.timed}
    if not timed:
        return _("No other format than %(baseline)s was timed.") % {"baseline": baseline}
    best, *tied = (timed[name] for name in fastest({name: result.timing for name, result in timed.items()}))
    timing = best.timing
    how = _(", extrapolated from a few steps") if timing["extrapolated"] or timing["baseline_extrapolated"] else ""
    values = {"label": best.label, "baseline": baseline, "how": how}
    values |= figures("speedup", speedup=timing["speedup"], low=timing["speedup_low"], high=timing["speedup_high"])
    values |= figures("latency_s", own=timing["latency_s"], reference=results.clock.reference_s)
    if not timing["trusted"]:
        text = _(
            "No speed of this run is to be trusted; the greatest speed-up that came out is that of %(label)s, "
            "%(speedup)s over %(baseline)s (95 %% interval from %(low)s to %(high)s)."
        )
        return text % values
    if not is_distinguishable(timing):
        text = _(
            "No format can be told from %(baseline)s by a greater speed on this machine: the best, %(label)s, has a "
            "speed-up of %(speedup)s, but its 95 %% interval runs from %(low)s to %(high)s."
        )
        return text % values
    if timing["speedup"] < 1:
        text = _(
            "No format is faster than %(baseline)s on this machine: the next, %(label)s, generates at %(speedup)s "
            "times its speed (%(own)s s against %(reference)s s per image%(how)s; 95 %% interval from %(low)s to "
            "%(high)s)."
        )
    elif tied:
        text = _(
            "%(label)s has the greatest speed-up, %(speedup)s over %(baseline)s on this machine (%(own)s s against "
            "%(reference)s s per image%(how)s; 95 %% interval from %(low)s to %(high)s)."
        )
    else:
        text = _(
            "%(label)s is the fastest: %(speedup)s times as fast as %(baseline)s on this machine (%(own)s s against "
            "%(reference)s s per image%(how)s; 95 %% interval from %(low)s to %(high)s)."
        )
    return " ".join([text % values, *tied_words(tied, _)])


def tied_words(tied: Sequence[VariantResult], _: Translate) -> list[str]:
    """From which formats the fastest cannot be told by speed, in a sentence; none if it can from all."""
    text = _("By speed it cannot be told from %(labels)s.")
    return [text % {"labels": list_of([item.label for item in tied])}] if tied else []


def _most_faithful(results: Results, translations: NullTranslations) -> str:
    same = [r for r in results.others if r.quality["identical"] == r.quality["images"]]
    if same:
        text = translations.ngettext(
            "%(labels)s generates exactly the images of %(baseline)s, all %(n)d of them.",
            "%(labels)s generate exactly the images of %(baseline)s, all %(n)d of them.",
            len(same),
        )
        labels = list_of([result.label for result in same])
        return text % {"labels": labels, "baseline": results.baseline.label, "n": same[0].quality["images"]}
    best = max(results.others, key=_fidelity)
    text = translations.gettext(
        "%(label)s is the most faithful: its images agree with those of %(baseline)s to %(psnr)s dB PSNR on average "
        "(%(rating)s; SSIM %(ssim)s; n = %(n)d)."
    )
    return " ".join([text % _quality(best, results, translations), *_not_told(best, results, translations)])


def _not_told(result: VariantResult, results: Results, translations: NullTranslations) -> list[str]:
    """From which other formats `result` cannot be told by PSNR, in a sentence; none if it can from all."""
    near = [other.label for other in results.others if other is not result and not told_apart(results, result, other)]
    text = translations.gettext("By PSNR it cannot be told from %(labels)s.")
    return [text % {"labels": list_of(near)}] if near else []


def told_apart(results: Results, one: VariantResult, other: VariantResult) -> bool:
    """Whether the 95 % interval of the paired difference of two formats' PSNR leaves zero out."""
    for entry in results.comparisons:
        if {entry["reference"], entry["variant"]} == {one.name, other.name} and entry["psnr_db"]:
            low, high = entry["psnr_db"]["low"], entry["psnr_db"]["high"]
            return low is not None and (low > 0 or high < 0)
    return False


def _least_faithful(results: Results, translations: NullTranslations) -> str:
    differing = [r for r in results.others if r.quality["psnr_db"] is not None]
    if len(results.others) < 2 or not differing:
        return ""
    worst = min(differing, key=_fidelity)
    text = translations.gettext("%(label)s departs furthest: %(psnr)s dB (%(rating)s; SSIM %(ssim)s).")
    return " ".join([text % _quality(worst, results, translations), *_not_told(worst, results, translations)])


def _no_quality(results: Results, translations: NullTranslations) -> str:
    text = translations.gettext("The quality was not measured (%(reason)s).")
    return text % {"reason": reason(results.baseline.quality["reason"], translations.gettext)}


def _unmeasured(results: Results, translations: NullTranslations) -> str:
    untimed = [result for result in results.variants if not result.timed]
    text = translations.ngettext(
        "The speed and the memory of %(labels)s were not measured (%(reason)s).",
        "The speed and the memory of %(labels)s were not measured (%(reason)s).",
        len(untimed),
    )
    reasons = dict.fromkeys(reason(result.timing["reason"], translations.gettext) for result in untimed)
    labels = list_of([result.label for result in untimed])
    return text % {"labels": labels, "reason": "; ".join(reasons)} if untimed else ""


def _fidelity(result: VariantResult) -> float:
    value = result.quality["psnr_db"]
    return float("inf") if value is None else value


def _quality(result: VariantResult, results: Results, translations: NullTranslations) -> dict[str, object]:
    quality = result.quality
    return {
        "label": result.label,
        "baseline": results.baseline.label,
        "psnr": figure("psnr_db", quality["psnr_db"]),
        "rating": rating_words(quality, translations.gettext),
        "ssim": figure("ssim", quality["ssim"]),
        "n": quality["images"],
    }
