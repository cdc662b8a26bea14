"""From results to charts: which numbers each chart shows, and what it says in words."""

import math
from collections.abc import Sequence
from itertools import pairwise

from stages.lib.quality.metrics import PSNR_BANDS
from stages.lib.reporting.charts import shapes as charts
from stages.lib.reporting.charts.canvas import ACCENT, FAINT, MUTED, Chart, blank_chart
from stages.lib.reporting.charts.name_places import PointName, Segment, write_names
from stages.lib.reporting.charts.shapes import Bar, Dots
from stages.lib.reporting.languages import NO_BREAK_SPACE, Translate, number, unit
from stages.lib.reporting.numbers import figure
from stages.lib.reporting.words.names import names_of
from stages.lib.results.candidates import Candidate
from stages.lib.results.pareto import Standing
from stages.lib.results.records import Results, VariantResult
from stages.lib.timing.ratios import paired_ratios

DOT_PT, NUMBER_PT = 5.0, 7.0  # of the trade-offs
LEAST_LOSS = 1e-6  # a mean SSIM nearer to 1 than this is generated at the upper edge


def result_charts(results: Results, study_ids: set[str], _: Translate) -> dict[str, Chart]:
    """The charts of sizes, speed, its split, PSNR, and the order of calls; those without any data are left out."""
    found = {"sizes": _sizes(results, _)}
    if any(result.timed for result in results.variants):
        found |= {"speed": _speed(results, _), "split": _split(results, _), "calls": _calls(results, _)}
    if results.others and results.illustrated:
        found["psnr"] = _psnr(results, study_ids, _)
    return found


def _sizes(results: Results, _: Translate) -> Chart:
    names = names_of("component", _)
    rows = [
        Bar(
            label=result.label,
            parts=tuple(row["disk_mib"] for row in result.size["components"]),
            note=_note(figure("disk_mib", result.size["disk_mib"]), "MiB", figure("compression", result.compression)),
            is_baseline=result.is_baseline,
        )
        for result in results.variants
    ]
    parts = [names[row["component"]] for row in results.baseline.size["components"]]
    alt = charts.said(_("Stacked bars: size on disk by component, and compression."), rows)
    return Chart(charts.stacked_bars(rows, parts, _("size on disk, MiB")), alt)


def _note(value: str, sign: str, ratio: str) -> str:
    return f"{value}{NO_BREAK_SPACE}{unit(sign)}   {ratio}×"


def _speed(results: Results, _: Translate) -> Chart:
    rows = []
    for result in results.variants:
        if not result.timed:
            rows.append(Bar(result.label, (), _unmeasured(result, _)))
            continue
        latency_s, ratio = result.timing["latency_s"], figure("speedup", result.timing["speedup"])
        about = "≈ " if result.timing["extrapolated"] else ""
        note = about + _note(figure("latency_s", latency_s), "s", ratio)
        pairs = [value for restart in paired_ratios(result.timing["calls"]) for value in restart]
        singles = tuple(results.clock.reference_s / value for value in pairs)
        rows.append(Bar(result.label, (latency_s,), note, result.is_baseline, singles))
    alt = charts.said(_("Bars from zero: latency, and speed-up."), rows)
    return Chart(charts.bars_with_samples(rows, _("latency, s/image"), _("by a single pair of calls")), alt)


def _unmeasured(result: VariantResult, _: Translate) -> str:
    return _("not measured: simulated") if result.variant.simulated else _("not measured")


def _split(results: Results, _: Translate) -> Chart:
    names = names_of("component", _)
    rows, order = [], {}
    for result in results.variants:
        order |= dict.fromkeys(row["component"] for row in (result.timing["components"] if result.timed else ()))
    parts = [part for part in order if part != "other"] + ["other"]
    for result in results.variants:
        if not result.timed:
            rows.append(Bar(result.label, (), _unmeasured(result, _)))
            continue
        found = {
            row["component"]: max(0.0, row["median"] * row["calls_per_image"]) for row in result.timing["components"]
        }
        largest = max(found, key=found.get)
        share = number(100 * found[largest] / sum(found.values()), ".0f")
        note = _("%(component)s %(share)s %%") % {"component": names.get(largest, largest), "share": share}
        rows.append(Bar(result.label, tuple(found.get(part, 0.0) for part in parts), note, result.is_baseline))
    alt = charts.said(_("Stacked bars: latency by component; share of the largest."), rows)
    return Chart(charts.stacked_bars(rows, [names.get(part, part) for part in parts], _("latency, s/image")), alt)


def _psnr(results: Results, study_ids: set[str], _: Translate) -> Chart:
    rows = [_dots(result, study_ids, _) for result in results.others]
    names = (_("prompt of the study"), _("other prompt"), _("mean"))
    axis = _("PSNR against %(baseline)s, dB") % {"baseline": results.baseline.label}
    bands = [(names_of("rating", _)[name], bound) for name, bound in PSNR_BANDS]
    alt = charts.said(_("One dot per image and format; mean PSNR."), rows)
    return Chart(charts.strip(rows, axis, names, bands), alt)


def _dots(result: VariantResult, study_ids: set[str], _: Translate) -> Dots:
    images = [image for image in result.quality["per_image"] if not image["identical"]]
    mean = result.quality["psnr_db"]
    words = [] if mean is None else [f"{figure('psnr_db', mean)}{NO_BREAK_SPACE}{unit('dB')}"]
    if result.quality["identical"]:
        words.append(_("%(count)d identical") % {"count": result.quality["identical"]})
    return Dots(
        label=result.label,
        values=tuple(image["psnr_db"] for image in images if image["id"] not in study_ids),
        study_values=tuple(image["psnr_db"] for image in images if image["id"] in study_ids),
        mean=mean,
        note="\n".join(words),
    )


def _calls(results: Results, _: Translate) -> Chart:
    panels = [
        (
            result.label,
            [(call["call"], call["role"] == "baseline", call["latency_s"]) for call in result.timing["calls"]],
        )
        for result in results.variants
        if result.timed
    ]
    alt = _(
        "One panel per format: time of each call in the order it ran, filled for the format, empty for %(baseline)s."
    )
    svg = charts.call_order(panels, (_("call"), _("s per image")))
    return Chart(svg, alt % {"baseline": results.baseline.label})


def tradeoff_chart(
    candidates: Sequence[Candidate], found: dict[str, dict[str, Standing]], baseline_s: float, _: Translate
) -> Chart:
    """One panel per cost; a variant is its number in the declared order, filled on the front. `found` is by cost.

    Time is shown as a share of the baseline's, `baseline_s`. The axis of SSIM is logarithmic in what is missing to 1.
    """
    names = {
        "disk_mib": _("size on disk, MiB"),
        "time_s": _("time, share of the reference's"),
        "peak_mib": _("peak, MiB"),
    }
    losses = {item.name: max(1 - item.ssim.value, LEAST_LOSS) for item in candidates if item.ssim}
    numbers = {item.name: number for number, item in enumerate(candidates, 1)}
    labels = {item.name: item.label for item in candidates}
    shown = {key: value for key, value in found.items() if value}
    panels = []
    with blank_chart(4.1) as (figure, out):
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, (key, standing) in zip(grid, shown.items(), strict=True):
            scale = baseline_s if key == "time_s" else 1.0
            points = {name: (item.cost / scale, losses[name], item.by is None) for name, item in standing.items()}
            panels.append((axes, points, _panel(axes, points)))
            axes.set_xlabel(names[key])
        ssim_axis(grid[0], max(losses.values(), default=0.1))
        grid[0].set_ylabel(_("mean SSIM"))
        figure.get_layout_engine().execute(figure)  # numbers are placed by the room that is left
        for axes, points, front in panels:
            found_names = [PointName(str(numbers[name]), point[:2], True, point[2]) for name, point in points.items()]
            write_names(axes, found_names, front, NUMBER_PT, mark=DOT_PT / 2)
    fronts = [
        f"{names[key]}: {', '.join(labels[name] for name, item in standing.items() if item.by is None)}"
        for key, standing in shown.items()
    ]
    return Chart(out.getvalue(), _("Points by cost and mean SSIM. On the front:") + f" {'; '.join(fronts)}.")


def _panel(axes, points: dict[str, tuple[float, float, bool]]) -> list[Segment]:
    """Draw the points and the front; returned are the lines of the front."""
    on_front = sorted((cost, loss) for cost, loss, kept in points.values() if kept)
    axes.step(*zip(*on_front, strict=True), where="post", color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
    for cost, loss, kept in points.values():
        style = {"markerfacecolor": ACCENT if kept else "white", "markeredgecolor": ACCENT if kept else MUTED}
        axes.plot([cost], [loss], "o", markersize=DOT_PT, mew=0.8, zorder=2 + kept, **style)
    costs = [cost for cost, _loss, _kept in points.values()]
    margin = 0.08 * (max(costs) - min(costs)) or 1.0
    axes.set_xlim(min(costs) - margin, max(costs) + margin)
    axes.grid(color=FAINT, linewidth=0.5)
    corners = [(right, above) for (_left, above), (right, _below) in pairwise(on_front)]
    across = [((left, above), corner) for (left, above), corner in zip(on_front, corners, strict=False)]
    return across + list(zip(corners, on_front[1:], strict=True))


def ssim_axis(axes, largest: float, least: float = LEAST_LOSS) -> None:
    """SSIM, higher above: ticks at 0.9, 0.99 and so on, and at the upper edge 1, where `least` and less is missing."""
    bottom = max(largest * 1.5, 0.2)
    axes.set_yscale("log")
    axes.set_ylim(bottom, least / 1.8)
    decades = [10.0**-power for power in range(1, round(-math.log10(least)) + 1)]
    ticks = [loss for loss in (0.5, 0.2, *decades) if least <= loss <= bottom]
    digits = [max(1, -math.floor(math.log10(loss))) for loss in ticks]
    words = ["1" if a <= least else number(1 - a, f".{n}f") for a, n in zip(ticks, digits, strict=True)]
    axes.set_yticks(ticks, words)
    axes.minorticks_off()
