"""Shapes of charts as SVG text: bars from zero, dots, curves; lightness and hatching instead of hue alone.

What a chart says in words is the alternative text beside it. Every function takes plain values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, PARTS, REFERENCE, blank_chart, rows_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """One row of a chart: its name, the lengths of its parts, and the words at its end. No parts: not measured."""

    label: str
    parts: Sequence[float | None]
    note: str
    is_baseline: bool = False
    samples: tuple[float, ...] = ()


@dataclass(frozen=True)
class Dots:
    """One row of a strip chart: values of single images, those of the study's prompts apart, and a closing note."""

    label: str
    values: tuple[float, ...]
    study_values: tuple[float, ...]
    mean: float | None
    note: str


@dataclass(frozen=True)
class Curve:
    """A line: its name, and its values at 1, 2, ...; None where there is none. A reference is dotted."""

    label: str
    values: tuple[float | None, ...]
    is_reference: bool = False


def said(opening: str, rows: Sequence[Bar | Dots]) -> str:
    """What a chart of these rows says in words."""
    return f"{opening} " + "; ".join(f"{row.label}: {' '.join(row.note.split())}" for row in rows) + "."


def stacked_bars(rows: Sequence[Bar], parts: Sequence[str], axis: str) -> str:
    """Horizontal bars from zero, each split into `parts`; the note stands at the bar's end."""
    with blank_chart(rows_in(len(rows), 0.42) + 0.95) as (figure, out):
        axes = figure.add_subplot()
        name_rows(axes, rows)
        for number, row in enumerate(rows):
            left = 0.0
            for length, (colour, hatch) in zip(row.parts, PARTS, strict=False):
                axes.barh(number, length, 0.58, left, color=colour, hatch=hatch, edgecolor=PARTS[0][0], linewidth=0.5)
                left += length
            _note(axes, left, number, row.note)
        parts_legend(figure, parts)
        measure_axis(axes, axis, max((sum(row.parts) for row in rows), default=0))
    return out.getvalue()


def bars_with_samples(rows: Sequence[Bar], axis: str, sample_name: str) -> str:
    """Horizontal bars from zero (the first part of each row) with every raw sample as a dot."""
    with blank_chart(rows_in(len(rows), 0.42) + 0.95) as (figure, out):
        axes = figure.add_subplot()
        name_rows(axes, rows)
        for number, row in enumerate(rows):
            end = max((*row.parts, *row.samples), default=0.0)
            if row.parts:
                colour = REFERENCE if row.is_baseline else ACCENT
                axes.barh(number, row.parts[0], 0.5, color=colour, edgecolor=INK, linewidth=0.5)
                _samples(axes, row.samples, number)
            _note(axes, end, number, row.note)
        dot = _mark(sample_name, "o", ms=4.5, mfc="white", mec=INK, mew=0.7)
        figure.legend(handles=[dot], loc="outside upper left", borderpad=0, handlelength=1.0)
        measure_axis(axes, axis, max((end for row in rows for end in (*row.parts, *row.samples)), default=0))
    return out.getvalue()


def strip(rows: Sequence[Dots], axis: str, names: tuple[str, str, str], bands: Sequence[tuple[str, float]]) -> str:
    """One row of dots per variant. `names`: a study prompt, another prompt, the mean; `bands`: name and lower bound.

    The axis begins at the lowest band's bound or at the lowest value: dots show position, not length.
    """
    with blank_chart(rows_in(len(rows), 0.46) + 1.4) as (figure, out):
        axes = figure.add_subplot()
        name_rows(axes, rows)
        for number, row in enumerate(rows):
            spread = [number + 0.17 * (((7 * k) % 5) / 2 - 1) for k in range(len(row.values))]
            axes.plot(row.values, spread, "o", markersize=3.6, markerfacecolor="none", markeredgecolor=ACCENT, mew=0.7)
            axes.plot(row.study_values, [number] * len(row.study_values), "D", markersize=5, color=INK, mew=0)
            if row.mean is not None:
                axes.plot([row.mean] * 2, [number - 0.36, number + 0.36], color=INK, linewidth=1.6)
            axes.annotate(
                row.note, (1.0, number), (5, 0), ("axes fraction", "data"), "offset points", va="center", color=MUTED
            )
        values = [value for row in rows for value in (*row.values, *row.study_values)] or [20.0, 45.0]
        low, high = min(min(values), 30.0) - 2, max(*values, 42.0) + 2
        axes.set_xlim(low, high)
        bounds = [*bands, ("", low)]
        upper = high
        for index, (name, bound) in enumerate(bounds):
            lower = max(bound, low)
            if upper > lower and name:
                axes.axvspan(lower, upper, color=FAINT, alpha=0.55 - 0.25 * index, linewidth=0)
                height = -0.66 - 0.5 * (index % 2)  # long words of neighbours would meet
                axes.text((lower + upper) / 2, height, name, ha="center", va="center", color=MUTED)
            upper = min(upper, lower)
        axes.set_ylim(len(rows) - 0.45, -1.5)
        axes.set_xlabel(axis, parse_math=False)
        diamond = _mark(names[0], "D", ms=5, color=INK, mew=0)
        marks = [diamond, _mark(names[1], "o", ms=4.0, mfc="none", mec=ACCENT, mew=0.7)]
        marks.append(_mark(names[2], "|", ms=10, mew=1.6, color=INK))
        figure.legend(handles=marks, loc="outside upper left", ncols=3, borderpad=0, handlelength=1.2)
    return out.getvalue()


def call_order(panels: Sequence[tuple[str, Sequence[tuple[int, bool, float]]]], axes_names: tuple[str, str]) -> str:
    """Small panels, one per variant: time of each call in the order it ran; True marks the baseline's calls."""
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    with blank_chart(1.3 * lines + 0.5) as (figure, out):
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        highest = max(seconds for _, calls in panels for _, _, seconds in calls)
        for number, (axes, (title, calls)) in enumerate(zip(grid.flat, panels, strict=False)):
            for is_baseline, style in ((True, {"mfc": "white"}), (False, {"mfc": ACCENT})):
                points = [(call, seconds) for call, base, seconds in calls if base == is_baseline]
                axes.plot(*zip(*points, strict=True) if points else ([], []), "o", ms=4.2, mec=INK, mew=0.7, **style)
            axes.set_title(title, fontsize=8.5, loc="left", color=INK, parse_math=False)
            axes.set_ylim(0, highest * 1.12)
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
            axes.grid(axis="y", color=FAINT, linewidth=0.5)
            lowest = number + columns >= len(panels)
            axes.tick_params(labelbottom=lowest)
            axes.set_xlabel(axes_names[0] if lowest else "")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel(axes_names[1])
    return out.getvalue()


def curves(rows: Sequence[Curve], axes_names: tuple[str, str]) -> str:
    """One line per row over 1, 2, ... with its label at its end; a None leaves a gap."""
    with blank_chart(3.4) as (figure, out):
        axes = figure.add_subplot()
        for number, row in enumerate(rows):
            style = {"color": MUTED, "linestyle": ":"} if row.is_reference else {"color": _shade(number, len(rows))}
            style |= {} if row.is_reference else {"linestyle": ("-", "--", "-.")[number % 3]}
            values = [float("nan") if value is None else value for value in row.values]
            axes.plot(range(1, len(values) + 1), values, linewidth=1.3, label=row.label, **style)
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        legend = figure.legend(loc="outside right upper", handlelength=2.6, borderpad=0)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return out.getvalue()


def _shade(number: int, count: int) -> str:
    """One of `count` shades from dark to light, none too light to be seen."""
    dark, light = (0x17, 0x4A, 0x70), (0x8F, 0xBF, 0xE0)
    share = number / max(count - 1, 1)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(dark, light, strict=True))


def name_rows(axes: "Axes", rows: Sequence[Bar | Dots]) -> None:
    """A row for each, the first above, with its label."""
    labels = [row.label for row in rows]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)  # a label with dollar signs is no formula
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def measure_axis(axes: "Axes", name: str, longest: float, least: float = 0.0) -> None:
    """The axis of bars from zero; `longest` leaves room for words at the end of its bar."""
    axes.set_xlim(least * 1.1, longest * 1.42 or 1)
    axes.xaxis.grid(True, color=FAINT, linewidth=0.5)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel(name)


def _note(axes: "Axes", end: float, row: int, text: str) -> None:
    axes.annotate(text, (end, row), (5, 0), textcoords="offset points", va="center")


def _samples(axes: "Axes", samples: Sequence[float], row: int) -> None:
    spread = [row + 0.12 * (index % 3 - 1) for index in range(len(samples))]
    axes.plot(samples, spread, "o", markersize=4, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=0.7)


def parts_legend(figure: "Figure", names: Sequence[str]) -> None:
    """What each colour and hatching of PARTS stands for."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=PARTS[0][0], linewidth=0.5, label=name)
        for name, (colour, hatch) in zip(names, PARTS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(names), borderpad=0, handlelength=1.6)


def _mark(name: str, marker: str, **look: object):
    """One entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, ls="", label=name, **look)
