"""The brief's chart: speed-up and mean SSIM of each timed format with intervals, and its name beside the point."""

from collections.abc import Mapping, Sequence

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, MUTED, Chart, blank_chart
from stages.lib.reporting.charts.name_places import PointName, Segment, write_names
from stages.lib.reporting.charts.result_charts import ssim_axis
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.numbers import figure
from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range

HEIGHT_IN, FONT_PT = 3.0, 7.5
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
        write_names(axes, *_names(shown, losses, marked, axes.get_ylim()), FONT_PT)
    words = "; ".join(
        f"{item.label}: {figure('speedup', item.speedup.value)}×, SSIM {figure('ssim', item.ssim.value)}"
        for item in shown
    )
    return Chart(out.getvalue(), _("Points by speed-up and mean SSIM:") + f" {words}.")


def _names(
    shown: Sequence[Candidate], losses: Mapping[str, Range], marked: Sequence[str], edges: tuple[float, float]
) -> tuple[list[PointName], list[Segment]]:
    """The name of each point, and the lines that it should not cover; `edges` are the lower and the upper one."""
    names, lines = [], [((1.0, edges[0]), (1.0, edges[1]))]
    for item in shown:
        speed, loss, wanted = item.speedup, losses[item.name], item.name in marked
        names.append(PointName(item.label, (speed.value, loss.value), wanted, bold=wanted))
        lines.append(((speed.low, loss.value), (speed.high, loss.value)))
        lines.append(((speed.value, loss.low), (speed.value, loss.high)))
    return names, lines


def _losses(item: Candidate) -> Range:
    """What is missing to an SSIM of 1, none less than the axis can show; without an interval, a point."""
    ssim = item.ssim if item.has_interval else Range(*[item.ssim.value] * 3)
    return Range(*(max(1 - value, LEAST_LOSS) for value in (ssim.value, ssim.high, ssim.low)))
