"""The first page's box: five questions of a reader who has a machine and wants one answer."""

import math
from gettext import NullTranslations

from stages.lib.project.params import Params
from stages.lib.reporting.languages import list_of, number
from stages.lib.reporting.numbers import figure
from stages.lib.reporting.recommendations import Advice
from stages.lib.reporting.words.answer import size_words
from stages.lib.reporting.words.clock_words import trust
from stages.lib.reporting.words.names import reason
from stages.lib.reporting.words.quality_words import rating_words
from stages.lib.results.candidates import RUNTIME_MIB, Candidate
from stages.lib.results.cost import CostRow, digits_of
from stages.lib.results.records import Results
from stages.lib.results.scenarios import OBSTACLES, supported

Row = tuple[str, str]


def answer_box(
    params: Params,
    results: Results,
    main: Advice,
    costs: tuple[CostRow, CostRow] | None,
    translations: NullTranslations,
) -> list[Row]:
    """Question and answer, for the main scenario; one row that says why, where there is no advice.

    `costs` are those of the recommended variant and of the baseline, None where this machine did not measure it.
    """
    _ = translations.gettext
    which, said = _("Which format?"), trust(results.clock, results.baseline.label, _)
    trusted = [(_("Are the speeds to be trusted?"), said)] if said else []
    if not results.illustrated:
        text = _("Advice is withheld: without images no format can be held to a quality threshold (%(reason)s).")
        return [(which, text % {"reason": reason(results.baseline.quality["reason"], _)}), *trusted]
    if main.decision.winner is None:
        return [(which, f"{main.label}: {main.unanswered}"), *trusted]
    rows = [
        (which, " ".join([_which(main, results, _), *_instead(main, _)])),
        (_("What is lost?"), _lost(main.decision.winner, results, _)),
        (_("How well is that supported?"), " ".join([*main.sure, *([main.tie] if main.tie else [])])),
        *trusted,
    ]
    if costs:
        rows.append((_("What does it cost?"), _cost(params, *costs, _)))
    if others := _others(main, _):
        rows.append((_("Why not the others?"), others))
    return rows


def _which(main: Advice, results: Results, _) -> str:
    winner = main.decision.winner
    values = {"label": winner.label, "scenario": main.label, "asked": ", ".join(main.asked)}
    if winner.is_baseline:
        text = _(
            "Stay with %(label)s, for: %(scenario)s (%(asked)s). No other format that keeps the limits does better."
        )
        if not main.decision.trusted:
            text = _(
                "Stay with %(label)s, for: %(scenario)s (%(asked)s), until the speeds of a run are to be trusted: "
                "those of this one are not."
            )
        return text % values
    values |= {
        "machine": main.source.machine,
        "baseline": results.baseline.label,
        "speedup": figure("speedup", winner.speedup.value),
        "size": figure("disk_mib", winner.disk_mib),
        "ratio": size_words([winner.compression], results.baseline.label, _),
        "peak": figure("run_peak_mib", winner.peak_mib),
        "runtime": RUNTIME_MIB,
    }
    text = _(
        "%(label)s, for: %(scenario)s (%(asked)s). On %(machine)s it generates %(speedup)s times as fast as "
        "%(baseline)s, takes %(size)s MiB on disk (%(ratio)s) and %(peak)s MiB of memory at its peak, "
        "%(runtime)d of them a runtime's."
    )
    untrusted = [] if winner.trusted else [_("The speeds of this run are not to be trusted, though.")]
    return " ".join([text % values, *untrusted])


def _instead(main: Advice, _) -> list[str]:
    """What is supported, and so what the brief recommends, where that is not the winner."""
    baseline = next(item for item in main.source.candidates if item.is_baseline)
    safe = supported(main.decision, baseline)
    if safe is None or safe is main.decision.winner:
        return []
    return [_("It is not supported at 95 %%; what is: %(label)s.") % {"label": safe.label}]


def _lost(winner: Candidate, results: Results, _) -> str:
    if winner.psnr_db is None:
        text = _("Nothing: its images (n = %(n)d) are those of %(baseline)s.")
        return text % {"n": len(winner.ssims), "baseline": results.baseline.label}
    text = _(
        "Its images agree with those of %(baseline)s to %(psnr)s dB PSNR on average (%(rating)s), SSIM %(ssim)s, "
        "%(worst)s in the worst image of n = %(n)d."
    )
    values = {"baseline": results.baseline.label, "psnr": figure("psnr_db", winner.psnr_db), "n": len(winner.ssims)}
    values |= {"rating": rating_words(_quality(winner, results), _), "ssim": figure("ssim", winner.ssim.value)}
    found = [text % (values | {"worst": figure("ssim", min(winner.ssims))})]
    if asked := (_quality(winner, results).get("attributes") or {}).get("all"):  # where that was measured here
        text = _(
            "Of the things that the prompts ask for (n = %(asked)d), %(right)d are seen in its images, "
            "%(baseline_right)d in those of %(baseline)s."
        )
        found.append(text % {**asked, "baseline": results.baseline.label})
    return " ".join(found)


def _quality(winner: Candidate, results: Results) -> dict:
    """The record of the winner's images; of another machine's its mean PSNR alone."""
    return next((item.quality for item in results.variants if item.name == winner.name), {"psnr_db": winner.psnr_db})


def _cost(params: Params, own: CostRow, baseline: CostRow, _) -> str:
    digits = digits_of([own.thousand.value, baseline.thousand.value])
    values = {
        "own": number(own.thousand.value, f",.{digits}f"),
        "reference": number(baseline.thousand.value, f",.{digits}f"),
        "baseline": baseline.candidate.label,
        "currency": params.cost.currency,
        "price": number(params.cost.price_per_hour, ",.2f"),
        "utilisation": number(100 * params.cost.utilisation, ".0f"),
        "making": figure("quantize_s", own.candidate.making_s),
    }
    text = _(
        "A thousand images cost %(own)s %(currency)s, with %(baseline)s %(reference)s, if an hour costs %(price)s "
        "%(currency)s and %(utilisation)s %% of it is spent generation; both are assumptions."
    )
    found = [text % values]
    if not own.candidate.trusted:
        found.append(_("No speed behind it is to be trusted."))
    elif own.break_even:
        text = _("Quantization takes, once, %(making)s s; number of images after which that is paid back: %(images)s.")
        found.append(text % (values | {"images": number(math.ceil(own.break_even), ",d")}))
    return " ".join(found)


def _others(main: Advice, _) -> str:
    """The others grouped by the weightiest reason."""
    sentences = {
        "device": _("Measured on another device: %(labels)s."),
        "simulated": _("Only simulated: %(labels)s."),
        "unjudged": _("Quality not measured: %(labels)s."),
        "quality": _("Below the quality threshold: %(labels)s."),
        "memory": _("Above the memory limit: %(labels)s."),
        "tied": _("Not told from it in speed: %(labels)s."),
        "time_s": _("Slower: %(labels)s.") if main.decision.trusted else _("Not known to be slower: %(labels)s."),
        "disk_mib": _("Not smaller: %(labels)s."),
        "peak_mib": _("Not less memory: %(labels)s."),
    }
    groups: dict[str, list[str]] = {}
    aim = main.decision.scenario.minimise
    alike = main.decision.tied if aim == "time_s" and main.decision.trusted else ()
    for item in main.decision.eligible[1:]:
        groups.setdefault("tied" if item in alike else aim, []).append(item.label)
    for item, held in main.decision.excluded:
        groups.setdefault(min(held, key=OBSTACLES.index), []).append(item.label)
    return " ".join(sentences[key] % {"labels": list_of(labels)} for key, labels in groups.items())
