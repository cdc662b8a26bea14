"""Tables 14 and 15: what this report's figures say of the study's future directions and prospects of application."""

from collections.abc import Iterator, Sequence

from stages.lib.quality.metrics import rate_psnr
from stages.lib.reporting.languages import list_of, number, numbers
from stages.lib.reporting.words.answer import size_words, tied_words
from stages.lib.reporting.words.names import translated
from stages.lib.reporting.words.quality_words import worst_psnr_db
from stages.lib.results.records import VariantResult
from stages.lib.results.speeds import fastest
from stages.lib.study.sources import Answer, Outlook, Sources

PLATFORMS = {
    "torch": "PyTorch",
    "torch_dynamic": "PyTorch",
    "torchao": "PyTorch (torchao)",
    "bitsandbytes": "PyTorch (bitsandbytes)",
    "gguf": "PyTorch (GGUF)",
    "layerwise": "PyTorch",
    "sdnq": "PyTorch (SDNQ)",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
}
DYNAMIC_BACK_ENDS = ("torch_dynamic", "torchao", "bitsandbytes", "sdnq")
PLATFORMS_ASKED = ("PyTorch", "TensorRT", "ONNX Runtime", "OpenVINO")
VENDORS = ("NVIDIA", "AMD", "Intel")


def directions(sources: Sources) -> list[Outlook]:
    """Table 14, in the study's order: what this report already measures of it."""
    return _outlooks(sources, "table_14", "direction", "description")


def prospects(sources: Sources) -> list[Outlook]:
    """Table 15, in the study's order."""
    return _outlooks(sources, "table_15", "field", "promise")


def _outlooks(sources: Sources, table: str, name: str, words: str) -> list[Outlook]:
    return [
        Outlook(sources.said(row[name]), sources.said(row[words]), *ANSWERS[key](sources))
        for key, row in sources.printed[table].items()
    ]


def _labels(results: Sequence[VariantResult]) -> dict[str, str]:
    return {"labels": ", ".join(result.label for result in results)}


def _training(sources: Sources) -> Answer:
    tuned = [item.label for item in sources.results.variants if item.variant.tuning is not None]
    values = {"count": len(sources.results.variants) - len(tuned), "tuned": list_of(tuned)}
    if tuned:
        text = sources._("%(tuned)s learned from prompts that are not evaluated; %(count)s formats were not trained.")
        return "partly", text % values, ("results-quality",)
    text = sources._("All formats (%(count)s) are made from finished weights, without training.")
    return "no", text % values, ("method-formats",)


def _architectures(sources: Sources) -> Answer:
    _ = sources._
    sized = [item["label"] for item in sources.results.architectures]
    timed = {translated(model.label, _) for machine in sources.machines for model in machine.models}
    timed |= {sources.model_label, *(translated(model.label, _) for model in sources.others if model.fingerprint)}
    values = {"sized": ", ".join(sized) or _("none"), "timed": ", ".join(sorted(timed))}
    text = _("Exact sizes of %(sized)s; time and memory of %(timed)s.") % values
    chapters = ("architectures", "results-machines") if sources.machines else ("architectures",)
    judged = [model for model in sources.others if model.images and sources.results.illustrated]
    if judged:
        labels = [translated(model.label, _) for model in judged]
        compared = _("What the same formats do to images of %(own)s and of %(others)s.")
        text = f"{compared % {'own': sources.model_label, 'others': list_of(labels)}} {text}"
        return "measured", text, ("models", *chapters)
    return ("partly" if len({*sized, *timed}) > 1 else "no"), text, chapters


def _hardware(sources: Sources) -> Answer:
    _ = sources._
    titles = [sources.machine, *(machine.title for machine in sources.machines)]
    environments = [*(machine.environment for machine in sources.machines), sources.results.environment]
    gpus = [environment["machine"]["gpu"] for environment in environments]
    seen = [vendor for vendor in VENDORS if any(gpu and vendor in gpu for gpu in gpus)]
    missing = [vendor for vendor in VENDORS if vendor not in seen]
    text = _("Timed on %(machines)s.") % {"machines": ", ".join(titles)}
    if missing:
        text += " " + _("Makers whose GPUs were not at hand: %(vendors)s.") % {"vendors": ", ".join(missing)}
    status = "measured" if not missing else "partly" if seen or len(titles) > 1 else "no"
    return status, text, ("results-machines",) if sources.machines else ("results-speed",)


def _adaptive(sources: Sources) -> Answer:
    _, variants = sources._, sources.results.variants
    steps = [result for result in variants if result.variant.call_precisions]
    dynamic = [
        result
        for result in variants
        if result.variant.backend in DYNAMIC_BACK_ENDS and result.variant.activations != "none"
    ]
    if not steps + dynamic:
        return "no", _("No format adapts to what is generated."), ()
    sentences = []
    if steps:
        sentences.append(_("By the step, not by the content: %(labels)s.") % _labels(steps))
    if dynamic:
        sentences.append(_("Ranges of activations taken anew from every input: %(labels)s.") % _labels(dynamic))
    chapter = "results-sensitivity" if sources.results.sensitivity else "results-speed"
    return "partly", " ".join(sentences), (chapter,)


def _platforms(sources: Sources) -> Answer:
    _ = sources._
    back_ends = [result.variant.backend for result in sources.results.variants if result.timed]
    seen = dict.fromkeys(PLATFORMS.get(name, name) for name in back_ends)
    missing = [name for name in PLATFORMS_ASKED if not any(name in platform for platform in seen)]
    text = _("Timed against the same reference: %(platforms)s.") % {"platforms": ", ".join(seen)}
    if missing:
        text += " " + _("Not measured: %(platforms)s.") % {"platforms": ", ".join(missing)}
    return ("partly" if missing else "measured"), text, ("results-speed", "results-why")


def _activations(sources: Sources) -> Answer:
    _, results = sources._, sources.results
    found = [result for result in results.variants if result.variant.activations != "none"]
    if not found:
        return "no", _("No format rounds activations."), ()
    text = _("Formats that round activations: %(labels)s.") % _labels(found)
    chapters = {"results-quality": results.illustrated, "results-sensitivity": results.sensitivity}
    return "measured", text, tuple(key for key, there in chapters.items() if there)


def _timed(sources: Sources) -> list[VariantResult]:
    """Formats with a speed-up, the greatest first."""
    found = [result for result in sources.results.others if result.timed]
    return sorted(found, key=lambda result: -result.timing["speedup"])


def _tied(timed: list[VariantResult], sources: Sources) -> list[str]:
    """From which of the others the first cannot be told by speed, in a sentence or none."""
    names = fastest({result.name: result.timing for result in timed})[1:]
    return tied_words([result for result in timed if result.name in names], sources._)


def _content(sources: Sources) -> Answer:
    _, timed = sources._, _timed(sources)
    if not timed:
        return "no", _("No other format than the reference was timed."), ("results-speed",)
    text = _("The fastest format, %(label)s, generates at %(speedup)s times the reference's speed and is %(size)s.")
    best = timed[0]
    size = size_words([best.compression], sources.results.baseline.label, _)
    values = {"label": best.label, "size": size, **numbers(".2f", speedup=best.timing["speedup"])}
    return "measured", " ".join([text % values, *_tied(timed, sources)]), ("results-speed", "analysis-cost")


def _mobile(sources: Sources) -> Answer:
    smallest = min(sources.results.variants, key=lambda result: result.size["disk_mib"])
    text = sources._("No phone or tablet was measured. The smallest format, %(label)s, takes %(size)s MiB on disk.")
    return "no", text % {"label": smallest.label, "size": number(smallest.size["disk_mib"], ",.1f")}, ("results-size",)


def _education(sources: Sources) -> Answer:
    _, timed = sources._, [result for result in sources.results.variants if result.timed]
    if not timed:
        return "no", _("Memory was not measured."), ("results-speed",)
    least = min(timed, key=lambda result: result.timing["model_peak_mib"])
    text = _("%(label)s needs the least memory: %(peak)s MiB of its own at the peak, %(seconds)s s per image.")
    values = numbers(",.0f", peak=least.timing["model_peak_mib"]) | numbers(".3f", seconds=least.timing["latency_s"])
    return "measured", text % {"label": least.label, **values}, ("results-speed", "analysis-advice")


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
    values = {"label": faithful[0].label, "speedup": number(faithful[0].timing["speedup"], ".2f")}
    return "measured", " ".join([text % values, *_tied(faithful, sources)]), ("results-quality",)


def _edge(sources: Sources) -> Answer:
    _, cores = sources._, sources.results.environment["machine"]["physical_cores"]
    on_cpu = [result for result in _timed(sources) if result.timing["device"] == "cpu"]
    if not on_cpu:
        return "no", _("No other format than the reference was timed on a CPU."), ("results-speed",)
    text = _(
        "No such device was measured. On a CPU without a GPU (cores: %(cores)s) the fastest format, %(label)s, takes "
        "%(seconds)s s per image."
    )
    best = on_cpu[0]
    values = {"cores": cores, "label": best.label, "seconds": number(best.timing["latency_s"], ".3f")}
    return "partly", " ".join([text % values, *_tied(on_cpu, sources)]), ("results-speed", "analysis-advice")


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
    measured = [(sources.machine, sources.model_label, sources.results.variants)]
    for machine in sources.machines:
        measured += [(machine.title, translated(model.label, sources._), model.variants) for model in machine.models]
    for title, model, items in measured:
        timed = [(item.timing["latency_s"], item.variant.label) for item in items if item.timed]
        if timed:
            seconds, label = min(timed)
            yield title, model, label, seconds


# By the keys of the study's rows.
ANSWERS = {
    "training": _training,
    "architectures": _architectures,
    "hardware": _hardware,
    "adaptive": _adaptive,
    "platforms": _platforms,
    "activations": _activations,
    "content": _content,
    "mobile": _mobile,
    "education": _education,
    "research": _research,
    "edge": _edge,
    "cloud": _cloud,
}
