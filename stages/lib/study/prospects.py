"""Table 15: what this report's figures say of the study's prospects of application."""

from collections.abc import Iterator

from stages.lib.quality.metrics import rate_psnr
from stages.lib.reporting.languages import number
from stages.lib.reporting.words.names import translated
from stages.lib.reporting.words.quality_words import worst_psnr_db
from stages.lib.results.records import VariantResult
from stages.lib.study.sources import Answer, Outlook, Sources


def prospects(sources: Sources) -> list[Outlook]:
    """Table 15, in the study's order."""
    answers = {
        "content": _content,
        "mobile": _mobile,
        "education": _education,
        "research": _research,
        "edge": _edge,
        "cloud": _cloud,
    }
    return [
        Outlook(sources.said(row["field"]), sources.said(row["promise"]), *answers[key](sources))
        for key, row in sources.printed["table_15"].items()
    ]


def _timed(sources: Sources) -> list[VariantResult]:
    """Formats with a speed-up, the fastest first."""
    found = [result for result in sources.results.others if result.timed]
    return sorted(found, key=lambda result: -result.timing["speedup"])


def _content(sources: Sources) -> Answer:
    _, timed = sources._, _timed(sources)
    if not timed:
        return "no", _("No other format than the reference was timed."), ("results-speed",)
    text = _(
        "The fastest format, %(label)s, generates at %(speedup)s times the reference's speed, %(size)s times smaller."
    )
    best = timed[0]
    values = {
        "label": best.label,
        "speedup": number(best.timing["speedup"], ".2f"),
        "size": number(best.compression, ".2f"),
    }
    return "measured", text % values, ("results-speed", "analysis-cost")


def _mobile(sources: Sources) -> Answer:
    smallest = min(sources.results.variants, key=lambda result: result.size["disk_mib"])
    text = sources._("No phone or tablet was measured. The smallest format, %(label)s, takes %(size)s MiB on disk.")
    return "no", text % {"label": smallest.label, "size": number(smallest.size["disk_mib"], ",.1f")}, ("results-size",)


def _education(sources: Sources) -> Answer:
    _, timed = sources._, [result for result in sources.results.variants if result.timed]
    if not timed:
        return "no", _("Memory was not measured."), ("results-speed",)
    least = min(timed, key=lambda result: result.timing["run_peak_mib"])
    text = _("%(label)s needs the least memory: %(peak)s MiB at the peak, %(seconds)s s per image.")
    values = {
        "label": least.label,
        "peak": number(least.timing["run_peak_mib"], ",.0f"),
        "seconds": number(least.timing["latency_s"], ".3f"),
    }
    return "measured", text % values, ("results-speed", "analysis-advice")


def _research(sources: Sources) -> Answer:
    _ = sources._
    if not sources.results.illustrated:
        return "no", _("Quality was not measured, so no format can be said to be faithful enough."), ()
    faithful = [r for r in _timed(sources) if rate_psnr(worst_psnr_db(r.quality)) in ("excellent", "identical")]
    if not faithful:
        return "partly", _("No timed format is excellent by the study's bands in every image."), ("results-quality",)
    text = _(
        "The fastest format that is excellent by the study's bands in every image is %(label)s: %(speedup)s times the "
        "speed."
    )
    best = faithful[0]
    return (
        "measured",
        text % {"label": best.label, "speedup": number(best.timing["speedup"], ".2f")},
        ("results-quality",),
    )


def _edge(sources: Sources) -> Answer:
    _, hardware = sources._, sources.results.environment["machine"]
    on_cpu = [result for result in _timed(sources) if result.timing["device"] == "cpu"]
    if not on_cpu:
        return "no", _("Nothing was timed on a CPU."), ("results-speed",)
    text = _(
        "No such device was measured. On %(cores)s cores of a CPU without a GPU the fastest format, %(label)s, takes "
        "%(seconds)s s per image."
    )
    best = on_cpu[0]
    values = {
        "cores": hardware["physical_cores"],
        "label": best.label,
        "seconds": number(best.timing["latency_s"], ".3f"),
    }
    return "partly", text % values, ("results-speed", "analysis-advice")


def _cloud(sources: Sources) -> Answer:
    _ = sources._
    sentences = [
        _("%(machine)s, %(model)s: %(count)s images an hour in %(label)s.")
        % {"machine": machine, "model": model, "label": label, "count": number(3600 / seconds, ",.0f")}
        for machine, model, label, seconds in _throughputs(sources)
    ]
    if not sentences:
        return "no", _("No throughput was measured."), ("results-speed",)
    return "measured", " ".join(sentences), ("results-machines", "analysis-cost")


def _throughputs(sources: Sources) -> Iterator[tuple[str, str, str, float]]:
    """The fastest format of each model on each machine, with its seconds an image."""
    here = [(result.timing["latency_s"], result.label) for result in sources.results.variants if result.timed]
    if here:
        seconds, label = min(here)
        yield sources.machine, translated(sources.params.chosen_model.label, sources._), label, seconds
    for machine in sources.machines:
        for model in machine.models:
            timed = [(item.timing["latency_s"], item.variant.label) for item in model.variants if item.timed]
            if timed:
                seconds, label = min(timed)
                yield machine.title, translated(model.label, sources._), label, seconds
