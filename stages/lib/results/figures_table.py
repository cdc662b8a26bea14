"""Every figure of every variant as one table: a row each, a column for each figure, its interval and its worst image.

A column is named by the key of its metric in stages/lib/quality/metrics.csv, with the unit behind it where the key has
none: `speedup_x`. Empty: not measured.
"""

import csv
import io
from typing import Any

from stages.lib.project.files import rounded
from stages.lib.quality.metrics import METRICS
from stages.lib.results.records import Results, VariantResult

UNITS = {"%": "percent", "x": "x"}  # as they stand in the name of a column; others are the unit in lower case
IDENTITY = ("backend", "weights", "activations", "granularity", "components", "simulated")
COUNTS = ("asked", "right", "baseline_right", "lost", "gained")


def column(key: str) -> str:
    """The name of the column of the metric `key`, with its unit."""
    unit = METRICS[key].unit
    words = UNITS.get(unit, unit.lower())
    return key if not words or words in key.split("_") else f"{key}_{words}"


def table(results: Results) -> str:
    """The table as CSV, the variants in the declared order, those that cannot run here with their names alone."""
    rows = [row(result) for result in results.variants]
    rows += [_identity(item.variant) for item in results.unavailable]
    names = dict.fromkeys(name for found in sorted(rows, key=len, reverse=True) for name in found)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["machine", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"machine": results.environment["fingerprint"]} | rounded(found) for found in rows)
    return text.getvalue()


def row(result: VariantResult) -> dict[str, Any]:
    """All figures of one variant by the names of their columns."""
    found = _identity(result.variant) | {"device": result.generated["device"], "compute": result.generated["compute"]}
    for key in (key for key in METRICS if key != "latent_snr_db"):  # which has a figure for each step
        found |= _figure(result, key)
    found["model_peak_mib"] = result.timing.get("model_peak_mib")
    found["extrapolated"] = result.timing.get("extrapolated")
    counts = result.quality.get("attributes") or {}
    found |= {f"attributes_{key}_{name}": kind[name] for key, kind in counts.items() for name in COUNTS}
    for key, measure in (result.appearance.get("measures") or {}).items():
        found |= {f"artefact_{key}_{end}": measure[end] for end in ("shift", "low", "high", "grade")}
    found |= {f"{part['component']}_disk_mib": part["disk_mib"] for part in result.size["components"]}
    return found


def _identity(variant: Any) -> dict[str, Any]:
    values = variant.model_dump(mode="json")
    values["components"] = " ".join(values["components"]) if values.get("components") else None
    return {"variant": variant.name, "label": variant.label} | {key: values.get(key) for key in IDENTITY}


def _figure(result: VariantResult, key: str) -> dict[str, Any]:
    """The value of one metric; with its interval and its worst image, where it is a mean over images."""
    name, timing, quality = column(key), result.timing, result.quality
    average = (quality.get("averages") or {}).get(key) or (quality.get("distribution") or {}).get(key)
    if isinstance(average, dict):
        found = {name: average["mean"], f"{name}_low": average["low"], f"{name}_high": average["high"]}
        worst = (quality.get("tails") or {}).get(key)
        return found | ({f"{name}_worst": worst["worst"], f"{name}_worst_image": worst["worst_id"]} if worst else {})
    if key == "compression":
        return {name: result.compression}
    values = [record[key] for record in (timing, quality, result.size) if key in record]
    ends = {f"{name}_{end}": timing[f"{key}_{end}"] for end in ("low", "high") if f"{key}_{end}" in timing}
    return {name: values[0] if values else None} | ends
