"""What goes elsewhere, in English: a table for a pull request or a model card, and the card's fragment of metadata."""

import io
from typing import Any

from ruamel.yaml import YAML

from stages.lib.project.files import rounded
from stages.lib.project.params import Params
from stages.lib.quality.metrics import METRICS
from stages.lib.reporting.numbers import figure
from stages.lib.reporting.origin import Origin
from stages.lib.reporting.words.clock_words import trust
from stages.lib.reporting.words.obstacle_words import obstacle_words
from stages.lib.results.machines import machine_title
from stages.lib.results.records import Results, VariantResult

COLUMNS = (
    "Format",
    "Size on disk, MiB",
    "Latency, s/image (95 % interval)",
    "Speed-up, × (95 % interval)",
    "Memory of the model, MiB",
    "PSNR, dB",
    "SSIM, mean (95 % interval)",
    "SSIM, worst",
    "Attributes kept",
)
# What a model card states of a format, by the key of its metric.
CARD_METRICS = ("ssim", "psnr_db", "attributes_right", "clip_score", "latency_s", "speedup", "disk_mib", "compression")
NOTHING = "–"


def summary_markdown(params: Params, results: Results, origin: Origin) -> str:
    """A table of all formats with the model, the machine and the resolution of its timing in the lines above."""
    machine = results.environment["machine"]
    about = f"{params.chosen_model.label} on {machine_title(results.environment)}, {machine['logical_cores']} cores"
    about += f" ({results.environment['fingerprint']})" + (f", {origin.date}" if origin.dated else "")
    images = results.baseline.quality.get("images")
    of = f" Quality: {images} images against those of {results.baseline.label}, from the same noise." if images else ""
    lines = [f"**{_cell(about)}.** {_cell(trust(results.clock, results.baseline.label, str))}{of}", ""]
    rows = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *(_row(item) for item in results.variants)]
    rows += [
        (item.variant.label, obstacle_words(item.obstacle, str), *[""] * (len(COLUMNS) - 2))
        for item in results.unavailable
    ]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if results.not_asked_for:
        lines += ["", f"Not measured in this run (`make report SET=all`): {_cell(', '.join(results.not_asked_for))}."]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(result: VariantResult) -> tuple[str, ...]:
    size, timing, quality = result.size, result.timing, result.quality
    times = [NOTHING] * 3
    if result.timed:
        times = [
            _span("latency_s", timing["latency_s"], timing["latency_s_low"], timing["latency_s_high"]),
            "1" if result.is_baseline else _span("speedup", timing["speedup"], *_ends(timing)),
            figure("run_peak_mib", timing["model_peak_mib"]),
        ]
    marks = [NOTHING] * 4
    if result.illustrated:
        kept, average = kept_attributes(result), (quality.get("averages") or {}).get("ssim") or {}
        marks = [
            "identical" if quality["psnr_db"] is None else figure("psnr_db", quality["psnr_db"]),
            _span("ssim", quality["ssim"], average.get("low"), average.get("high")),
            figure("ssim_minimum", quality["ssim_minimum"]),
            f"{kept[0]} of {kept[1]}" if kept else NOTHING,
        ]
    return (result.label, figure("disk_mib", size["disk_mib"]), *times, *marks)


def _ends(timing: dict[str, Any]) -> tuple[float, float]:
    return timing["speedup_low"], timing["speedup_high"]


def _span(key: str, value: float, low: float | None, high: float | None) -> str:
    middle = figure(key, value)
    return middle if low is None or low == high else f"{middle} ({figure(key, low)} to {figure(key, high)})"


def kept_attributes(result: VariantResult) -> tuple[int, int] | None:
    """Of what is seen in the baseline's images of what their prompts ask for: how much is still seen, and how much
    there is. None where it was not measured."""
    counts = (result.quality.get("attributes") or {}).get("all")
    return (counts["baseline_right"] - counts["lost"], counts["baseline_right"]) if counts else None


def model_index(params: Params, results: Results) -> str:
    """The `model-index` of a Hugging Face model card as YAML: a result for each format that has figures.

    The Hub's specification: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    name = params.chosen_model.label
    document = {
        "model-index": [{"name": name, "results": [_result(params, results, item) for item in results.variants]}]
    }
    text = io.StringIO()
    yaml = YAML()
    yaml.width, yaml.allow_unicode = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(rounded(document), text)
    return text.getvalue()


def _result(params: Params, results: Results, item: VariantResult) -> dict[str, Any]:
    machine = f"{machine_title(results.environment)} ({results.environment['fingerprint']})"
    figures = {"disk_mib": item.size["disk_mib"], "compression": item.compression}
    if item.timed:
        figures |= {key: item.timing[key] for key in ("latency_s", "speedup")}
    if item.illustrated:
        found = item.quality["averages"]
        figures |= {"ssim": item.quality["ssim"], "psnr_db": item.quality["psnr_db"]}
        figures |= {key: found[key]["mean"] for key in ("attributes_right", "clip_score") if found.get(key)}
    metrics = [
        {"type": key, "name": _titled(key), "value": figures[key], "args": {"format": item.label, "machine": machine}}
        for key in CARD_METRICS
        if figures.get(key) is not None
    ]
    against = "" if item.is_baseline else f" against {results.baseline.label}"
    dataset = {
        "type": "prompts",
        "name": f"Prompts ({', '.join(params.prompts.sets)}), {item.label}{against}",
        "config": item.name,
    }
    return {"task": {"type": "text-to-image", "name": "Text-to-Image"}, "dataset": dataset, "metrics": metrics}


def _titled(key: str) -> str:
    unit = METRICS[key].unit
    return f"{METRICS[key].name}, {unit}" if unit else METRICS[key].name
