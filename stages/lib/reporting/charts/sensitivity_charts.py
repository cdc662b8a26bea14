"""Charts of where damage comes from: by component, call of the denoiser, block and layer. Bars begin at zero."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, PARTS, Chart, blank_chart, rows_in
from stages.lib.reporting.charts.shapes import Bar, measure_axis, name_rows, parts_legend, said
from stages.lib.reporting.languages import NO_BREAK_SPACE, Translate, number
from stages.lib.reporting.words.names import names_of

SHOWN_LAYERS = 12
MIB = 1024**2
LINES = (("o", "-", INK), ("s", "--", ACCENT), ("^", ":", INK), ("D", "-.", ACCENT))


def sensitivity_charts(sensitivity: Mapping[str, Any], _: Translate) -> dict[str, Chart]:
    """All charts by their key."""
    return {
        "shares": _shares(sensitivity["components"], _),
        "steps": _steps(sensitivity["steps"], _),
        "blocks": _blocks(sensitivity["layers"], _),
        "layers": _layers(sensitivity["layers"], _),
        **({"sparing": _sparing(sensitivity["layers"], _)} if sensitivity["layers"].get("sparing") else {}),
    }


def relative_error_percent(noise: float) -> float:
    """The root of a noise-to-signal ratio, in percent: a length that a bar can show."""
    return 100 * noise**0.5


def grouped_bars(rows: Sequence[Bar], names: Sequence[str], axis: str) -> str:
    """Horizontal bars from zero, those of one row below each other, named by `names`; None has no bar.

    A row has one value for each name, which may be negative, and its words at the end of its longest bar.
    """
    height = 0.82 / len(names)
    with blank_chart(rows_in(len(rows), 0.13 + 0.075 * len(names)) + 0.95) as (figure, out):
        axes = figure.add_subplot()
        name_rows(axes, rows)
        found = [0.0]
        for number, row in enumerate(rows):
            for index, (value, (colour, hatch)) in enumerate(zip(row.parts, PARTS, strict=False)):
                place = number - 0.41 + height * (index + 0.5)
                if value is not None:
                    style = {"color": colour, "hatch": hatch, "edgecolor": PARTS[0][0], "linewidth": 0.5}
                    axes.barh(place, value, height * 0.92, **style)
                    found.append(value)
            end = max((value for value in row.parts if value is not None), default=0.0)
            spot = (max(end, 0.0), number)
            axes.annotate(row.note, spot, (5, 0), textcoords="offset points", va="center", color=MUTED)
        measure_axis(axes, axis, max(found), min(found))
        if len(names) > 1:
            parts_legend(figure, names)
    return out.getvalue()


def curves(lines: Sequence[tuple[str, Sequence[float], Sequence[Sequence[float]]]], places, axes_names) -> str:
    """One line a format over windows of calls, from zero: its name, a median per window, single images as dots.

    `places` are the middles of the windows; `axes_names` those of x and y.
    """
    with blank_chart(2.3) as (figure, out):
        axes = figure.add_subplot()
        for (name, medians, samples), (marker, dash, colour) in zip(lines, LINES, strict=False):
            for place, values in zip(places, samples, strict=True):
                axes.plot([place] * len(values), values, marker, markersize=2.6, mfc="none", mec=colour, mew=0.5)
            axes.plot(places, medians, dash, marker=marker, markersize=5, color=colour, linewidth=1.2, label=name)
        axes.set_ylim(0, None)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        figure.legend(loc="outside upper left", ncols=max(1, len(lines)), borderpad=0, handlelength=2.4)
    return out.getvalue()


def _percent(value: float) -> str:
    return f"{number(value, '.2g' if abs(value) < 99.5 else '.0f')}{NO_BREAK_SPACE}%"


def _shares(report: Mapping[str, Any], _: Translate) -> Chart:
    names = names_of("component", _)
    formats = report["formats"]
    shares = [
        {row["component"]: row["share"] for row in item["probe_points"]["image"]["components"]} for item in formats
    ]
    rows = []
    for component in [row["component"] for row in formats[-1]["components"] if row["component"] in shares[-1]]:
        values = [None if share[component] is None else 100 * share[component] for share in shares]
        last = values[-1]
        rows.append(Bar(names[component], values, "" if last is None else _percent(last)))
    svg = grouped_bars(rows, [item["label"] for item in formats], _("share of the damage to the image, %"))
    return Chart(svg, said(_("Bars from zero: share of the damage to the image by component."), rows))


def _steps(report: Mapping[str, Any], _: Translate) -> Chart:
    lines = [
        (
            item["label"],
            [window["rms"]["median"] for window in item["windows"]],
            [window["rms"]["samples"] for window in item["windows"]],
        )
        for item in report["formats"]
    ]
    windows = report["formats"][0]["windows"] if report["formats"] else []
    places = [(window["first"] + window["last"]) / 2 + 1 for window in windows]
    svg = curves(lines, places, (_("call of the denoiser (middle of the window)"), _("RMS difference, levels")))
    rows = [
        Bar(name, medians, "; ".join(number(value, ".2f") for value in medians)) for name, medians, _samples in lines
    ]
    return Chart(svg, said(_("Lines from zero: median difference of images, by window of calls."), rows))


def _errors(row: Mapping[str, Any], keys: Sequence[str]) -> list[float | None]:
    return [None if row[key] is None else relative_error_percent(row[key]) for key in keys]


def _blocks(report: Mapping[str, Any], _: Translate) -> Chart:
    keys, kinds = ("noise_4_bits", "noise_8_bits", "noise_activations"), names_of("layer_kind", _)
    rows = []
    for group in (report["blocks"], report["kinds"]):
        for row in group:
            values = _errors(row, keys)
            note = " / ".join("–" if item is None else _percent(item) for item in values)
            rows.append(Bar(kinds.get(row["name"], row["name"]), values, note))
    names = (_("weights, 4 bits"), _("weights, 8 bits"), _("inputs, 8 bits"))
    svg = grouped_bars(rows, names, _("relative error of the denoiser's prediction, %"))
    return Chart(svg, said(_("Bars from zero: error with one block, or one kind of layer, rounded."), rows))


def _layers(report: Mapping[str, Any], _: Translate) -> Chart:
    rows = []
    for row in report["layers"][:SHOWN_LAYERS]:
        values = _errors(row, ("noise_4_bits", "noise_8_bits"))
        rows.append(Bar(row["layer"], values, " / ".join(map(_percent, values))))
    svg = grouped_bars(rows, (_("4 bits"), _("8 bits")), _("relative error of the denoiser's prediction, %"))
    return Chart(svg, said(_("Bars from zero: error with one layer rounded."), rows))


def _sparing(report: Mapping[str, Any], _: Translate) -> Chart:
    names, rows = names_of("sparing", _), []
    with blank_chart(2.6) as (figure, out):
        axes = figure.add_subplot()
        for item, (marker, dash, colour) in zip(report["sparing"], LINES, strict=False):
            curve = [row for row in item["curve"] if row["noise"]]
            points = {row["spared"]: (row["bytes"] / MIB, -10 * math.log10(row["noise"])) for row in curve}
            sizes, values = zip(*points.values(), strict=True)
            style = {"marker": marker, "markersize": 4, "color": colour, "linewidth": 1.2}
            axes.plot(sizes, values, dash, label=names[item["kind"]], **style)
            if item["recommended"] in points:
                axes.plot(*points[item["recommended"]], "o", markersize=10, mfc="none", mec=colour, mew=0.8)
            rows.append(Bar(names[item["kind"]], values, "; ".join(number(value, ".1f") for value in values)))
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_xlabel(_("bytes of weights, MiB"))
        axes.set_ylabel(_("SNR of the prediction, dB"))
        figure.legend(loc="outside upper left", ncols=4, borderpad=0, handlelength=2.4)
    return Chart(out.getvalue(), said(_("Lines: SNR of the prediction with more and more layers spared."), rows))
