"""What the report shows of distances, floor, alignment and trajectories: rows and curves from the results."""

import math
from collections.abc import Sequence
from typing import Any

from stages.lib.project.prompts import Prompt
from stages.lib.quality.variant_answers import QUESTIONS
from stages.lib.reporting.charts import shapes as charts
from stages.lib.reporting.charts.canvas import Chart
from stages.lib.reporting.charts.shapes import Curve
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.numbers import figure
from stages.lib.results.records import Results, kind_means

MOST_PAIRS = 30  # rows of a table of every two formats, beyond which only some are printed


def floor_runs(results: Results, _: Translate) -> list[tuple[str, dict[str, Any]]]:
    """Every way in which the baseline was generated again, with its name; other seeds are the last."""
    names = {
        "again": _("run again"),
        "threads": _("another number of threads"),
        "processes": _("another number of processes"),
    }
    runs = [(names.get(key, key), run) for key, run in results.floor["runs"].items()]
    order = list(names.values())
    runs.sort(key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    return [*runs, (_("other seeds"), results.floor["seeds"])]


def below_rerun_db(quality: dict[str, Any], floor: dict[str, Any]) -> float | None:
    """By how many dB a variant's PSNR is below the worst rerun's, over the images that have both; None if none has.

    Positive: worse than a rerun. A rerun whose images are identical has no PSNR and sets no bound.
    """
    own = {row["id"]: row["psnr_db"] for row in quality["per_image"]}
    gaps = []
    for run in floor["runs"].values():
        both = [(row["psnr_db"], own.get(row["id"])) for row in run["per_image"]]
        found = [again - value for again, value in both if again is not None and value is not None]
        if found:
            gaps.append(sum(found) / len(found))
    return min(gaps, default=None)


def sets_rows(results: Results, _: Translate) -> list[tuple[str, dict[str, Any]]]:
    """Every format's distance between sets, and that of the baseline from itself with other seeds."""
    rows = [(result.label, result.quality["distribution"]) for result in results.others]
    rows.append(
        (_("%(baseline)s, other seeds") % {"baseline": results.baseline.label}, results.floor["seeds"]["distribution"])
    )
    return [(label, sets) for label, sets in rows if sets]


def comparison_rows(results: Results) -> list[dict[str, Any]]:
    """Every two variants with their labels and the paired comparison of each measure.

    Where that were more than MOST_PAIRS rows, only neighbours in the order of the mean PSNR, the most faithful first.
    """
    order = sorted(results.others, key=lambda result: -(result.quality["psnr_db"] or math.inf))
    names = [result.name for result in order]
    neighbours = [set(two) for two in zip(names, names[1:], strict=False)]
    return [
        entry | {"reference": results.label(entry["reference"]), "variant": results.label(entry["variant"])}
        for entry in results.comparisons
        if len(results.comparisons) <= MOST_PAIRS or {entry["reference"], entry["variant"]} in neighbours
    ]


def pair_rows(results: Results, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Table 8: every two variants with their mean PSNR for each kind of prompt.

    Where that were more than MOST_PAIRS rows, only those with one of the first two variants: the study's columns.
    """
    kinds = {prompt.id: prompt.kind for prompt in prompts}
    first = [result.name for result in results.variants[:2]] if len(results.pairs) > MOST_PAIRS else None
    return [
        {
            "reference": results.label(pair["reference"]),
            "variant": results.label(pair["variant"]),
            "kinds": kind_means(pair, kinds),
            "whole": pair,
        }
        for pair in results.pairs
        if first is None or pair["reference"] in first
    ]


def interval_counts(results: Results) -> dict[str, int]:
    """How many answers of the primary comparisons there are, and how many other intervals this report gives."""
    primary = sum(key in row for row in results.primary for key in QUESTIONS)
    shown = [results.comparisons, results.floor, results.sensitivity]
    for item in results.others:
        shown += [item.quality["averages"], item.quality["distribution"], item.appearance["measures"]]
    return {"primary": primary, "exploratory": _intervals(shown) - primary}


def comparison_counts(results: Results) -> dict[str, int]:
    """How many intervals compare every two variants, and how many of them leave zero out where nothing differs."""
    count = _intervals(results.comparisons)
    return {"intervals": count, "chance": round(0.05 * count)}


def _intervals(value: Any) -> int:
    """The intervals in a record: everything that has a lower bound."""
    if isinstance(value, dict):
        return (value.get("low") is not None) + sum(map(_intervals, value.values()))
    return sum(map(_intervals, value)) if isinstance(value, list | tuple) else 0


def trajectory_chart(results: Results, _: Translate) -> dict[str, Chart]:
    """Latent SNR after every step, a curve per variant and one for the rerun that differs; {} where all are equal."""
    again = _("%(baseline)s, %(run)s")
    found = [(result.label, result.quality["trajectory"], False) for result in results.others]
    found += [
        (again % {"baseline": results.baseline.label, "run": name}, run["trajectory"], True)
        for name, run in floor_runs(results, _)[:-1]
    ]
    rows = [
        Curve(label, tuple(trajectory["mean_snr_db"]), is_rerun)
        for label, trajectory, is_rerun in found
        if any(value is not None for value in trajectory["mean_snr_db"])
    ]
    if not rows:
        return {}
    span = _("%(label)s: %(first)s to %(last)s dB")
    said = "; ".join(
        span
        % {"label": row.label, "first": figure("latent_snr_db", ends[0]), "last": figure("latent_snr_db", ends[-1])}
        for row in rows
        if (ends := [value for value in row.values if value is not None])
    )
    alt = _("Lines: latent signal-to-noise ratio after every step, first to last.") + f" {said}."
    return {"trajectory": Chart(charts.curves(rows, (_("denoising step"), _("latent SNR, dB"))), alt)}
