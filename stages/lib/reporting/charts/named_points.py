"""The brief's chart: speed-up and mean SSIM of each timed format with intervals, and its name beside the point."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, SETTINGS, Chart, blank_chart
from stages.lib.reporting.charts.name_places import Box, Named, Place, Segment, places
from stages.lib.reporting.charts.result_charts import ssim_axis
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.numbers import figure
from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_IN, FONT_PT, LINE_PT = 3.0, 7.5, 9.0
LEAST_LOSS = 1e-4  # a mean SSIM nearer to 1 stands at the upper edge


def named_points(candidates: Sequence[Candidate], marked: Sequence[str], _: Translate) -> Chart | None:
    """A point per timed format with images, those in `marked` filled; None where there are fewer than two.

    A name that would cover points or other names is left out, but for those in `marked`; the alternative text has all.
    """
    shown = [item for item in candidates if item.speedup and item.ssim]
    if len(shown) < 2:
        return None
    losses = {item.name: _losses(item) for item in shown}
    low, high = min(item.speedup.low for item in shown), max(item.speedup.high for item in shown)
    margin = 0.06 * (high - low)
    with blank_chart(HEIGHT_IN) as (canvas, out):
        axes = canvas.add_subplot()
        ssim_axis(axes, max(loss.high for loss in losses.values()), LEAST_LOSS)
        axes.set_xlim(low - margin, high + margin)
        for item in shown:
            loss, filled = losses[item.name], item.name in marked
            axes.plot([item.speedup.low, item.speedup.high], [loss.value] * 2, color=FAINT, linewidth=1.2, zorder=1)
            axes.plot([item.speedup.value] * 2, [loss.low, loss.high], color=FAINT, linewidth=1.2, zorder=1)
            face = ACCENT if filled else "white"
            axes.plot(item.speedup.value, loss.value, "o", ms=6, mfc=face, mec=ACCENT if filled else MUTED, zorder=3)
        axes.axvline(1, color=MUTED, linewidth=0.6, linestyle=":")
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_xlabel(_("speed-up, times (lines: 95 % intervals)"), parse_math=False)
        axes.set_ylabel(_("mean SSIM"))
        canvas.get_layout_engine().execute(canvas)  # names are placed by the room that is left
        for item, place in zip(shown, _placed(axes, shown, losses, marked), strict=True):
            if place is not None:
                _write(axes, item.label, place, item.name in marked)
    words = "; ".join(
        f"{item.label}: {figure('speedup', item.speedup.value)}×, SSIM {figure('ssim', item.ssim.value)}"
        for item in shown
    )
    return Chart(out.getvalue(), _("Points by speed-up and mean SSIM:") + f" {words}.")


def _placed(
    axes: "Axes", shown: Sequence[Candidate], losses: Mapping[str, Range], marked: Sequence[str]
) -> list[Place | None]:
    """Where each name stands, in points of the whole figure."""
    area = axes.get_window_extent()
    seen = axes.transData.transform
    named, lines = [], []
    for item in shown:
        speed, loss, wanted = item.speedup, losses[item.name], item.name in marked
        at = tuple(seen((speed.value, loss.value)))
        named.append(Named(at, width_of(item.label, bold=wanted), LINE_PT, wanted))
        ends = ((speed.low, loss.value), (speed.high, loss.value), (speed.value, loss.low), (speed.value, loss.high))
        left, right, upper, lower = (tuple(seen(end)) for end in ends)
        lines += [(left, right), (upper, lower)]
    return places(named, Box(area.x0, area.x1, area.y0, area.y1), [*lines, _upright(axes, area)])


def _upright(axes: "Axes", area) -> Segment:
    """The line where nothing is faster or slower."""
    x = axes.transData.transform((1, 1))[0]
    return (x, area.y0), (x, area.y1)


def _write(axes: "Axes", label: str, place: Place, bold: bool) -> None:
    box, back = place.box, axes.transAxes.inverted().transform
    style = {"fontweight": "bold"} if bold else {}
    text = axes.text(
        *(*back((box.left, (box.bottom + box.top) / 2)), label), transform=axes.transAxes, va="center",
        fontsize=FONT_PT, color=INK, parse_math=False, zorder=4, **style,
    )  # fmt: skip
    text.set_in_layout(False)
    if place.leader:
        ends = zip(*map(back, place.leader), strict=True)
        axes.plot(*ends, color=MUTED, linewidth=0.4, transform=axes.transAxes, zorder=2, clip_on=False)


def width_of(label: str, bold: bool) -> float:
    """The width of a name in points, by the metrics of the font it is written in."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    weight = "bold" if bold else "normal"
    font = FontProperties(family=SETTINGS["font.family"], size=FONT_PT, weight=weight)
    return text_to_path.get_text_width_height_descent(label, font, ismath=False)[0]


def _losses(item: Candidate) -> Range:
    """What is missing to an SSIM of 1, none less than the axis can show; without an interval, a point."""
    ssim = item.ssim if item.has_interval else Range(*[item.ssim.value] * 3)
    return Range(*(max(1 - value, LEAST_LOSS) for value in (ssim.value, ssim.high, ssim.low)))
