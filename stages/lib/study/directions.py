"""Table 14: which of the study's future directions this report already measures, from the results that exist."""

from stages.lib.reporting.words.names import translated
from stages.lib.study.sources import Answer, Outlook, Sources

PLATFORMS = {
    "torch": "PyTorch",
    "torch_dynamic": "PyTorch",
    "torchao": "PyTorch (torchao)",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
}
PLATFORMS_ASKED = ("PyTorch", "TensorRT", "ONNX Runtime", "OpenVINO")
VENDORS = ("NVIDIA", "AMD", "Intel")


def directions(sources: Sources) -> list[Outlook]:
    """Table 14, in the study's order."""
    answers = {
        "training": _training,
        "architectures": _architectures,
        "hardware": _hardware,
        "adaptive": _adaptive,
        "platforms": _platforms,
        "activations": _activations,
    }
    return [
        Outlook(sources.said(row["direction"]), sources.said(row["description"]), *answers[key](sources))
        for key, row in sources.printed["table_14"].items()
    ]


def _training(sources: Sources) -> Answer:
    _ = sources._
    text = _("All %(count)s formats are made from finished weights, without training.")
    return "no", text % {"count": len(sources.results.variants)}, ("method-formats",)


def _architectures(sources: Sources) -> Answer:
    _ = sources._
    sized = [item["label"] for item in sources.results.architectures]
    timed = {translated(model.label, sources._) for machine in sources.machines for model in machine.models}
    timed.add(translated(sources.params.chosen_model.label, sources._))
    text = _("Exact sizes of %(sized)s; time and memory of %(timed)s.") % {
        "sized": ", ".join(sized) or _("none"),
        "timed": ", ".join(sorted(timed)),
    }
    chapters = ("architectures", "results-machines") if sources.machines else ("architectures",)
    return ("partly" if len({*sized, *timed}) > 1 else "no"), text, chapters


def _hardware(sources: Sources) -> Answer:
    _ = sources._
    titles = [sources.machine, *(machine.title for machine in sources.machines)]
    gpus = [machine.environment["machine"]["gpu"] for machine in sources.machines]
    gpus.append(sources.results.environment["machine"]["gpu"])
    seen = [vendor for vendor in VENDORS if any(gpu and vendor in gpu for gpu in gpus)]
    missing = [vendor for vendor in VENDORS if vendor not in seen]
    text = _("Timed on %(machines)s.") % {"machines": ", ".join(titles)}
    if missing:
        text += " " + _("Makers whose GPUs were not at hand: %(vendors)s.") % {"vendors": ", ".join(missing)}
    status = "measured" if not missing else "partly" if seen or len(titles) > 1 else "no"
    return status, text, ("results-machines",) if sources.machines else ("results-speed",)


def _adaptive(sources: Sources) -> Answer:
    _ = sources._
    steps = [r.label for r in sources.results.variants if r.variant.call_precisions]
    dynamic = [r.label for r in sources.results.variants if r.variant.backend in ("torch_dynamic", "torchao")]
    if not steps + dynamic:
        return "no", _("No format adapts to what is generated."), ()
    sentences = []
    if steps:
        sentences.append(_("By the step, not by the content: %(labels)s.") % {"labels": ", ".join(steps)})
    if dynamic:
        text = _("Ranges of activations taken anew from every input: %(labels)s.")
        sentences.append(text % {"labels": ", ".join(dynamic)})
    return (
        "partly",
        " ".join(sentences),
        ("results-sensitivity",) if sources.results.sensitivity else ("results-speed",),
    )


def _platforms(sources: Sources) -> Answer:
    _ = sources._
    seen = dict.fromkeys(
        PLATFORMS.get(r.variant.backend, r.variant.backend) for r in sources.results.variants if r.timed
    )
    missing = [name for name in PLATFORMS_ASKED if not any(name in platform for platform in seen)]
    text = _("Timed against the same reference: %(platforms)s.") % {"platforms": ", ".join(seen)}
    if missing:
        text += " " + _("Not measured: %(platforms)s.") % {"platforms": ", ".join(missing)}
    return ("partly" if missing else "measured"), text, ("results-speed", "results-why")


def _activations(sources: Sources) -> Answer:
    _ = sources._
    found = [r for r in sources.results.variants if r.variant.activations != "none"]
    if not found:
        return "no", _("No format rounds activations."), ()
    text = _("%(count)s formats round activations: %(labels)s.") % {
        "count": len(found),
        "labels": ", ".join(result.label for result in found),
    }
    found = {"results-quality": sources.results.illustrated, "results-sensitivity": sources.results.sensitivity}
    return "measured", text, tuple(key for key, there in found.items() if there)
