"""The brief's chart: speed-up and mean SSIM of each timed format with intervals, and its name beside the point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, WIDTH_IN, Chart, blank_chart
from stages.lib.reporting.charts.result_charts import ssim_axis
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.numbers import figure
from stages.lib.results.candidates import Candidate
from stages.lib.results.speeds import Range

HEIGHT_IN, FONT_PT = 3.0, 7.5
LEAST_LOSS = 1e-4  # a mean SSIM nearer to 1 stands at the upper edge
# The plotting area and a letter's width, as shares of the figure: near enough to keep names apart.
AREA = (0.86, 0.78)
LETTER = 0.6 * FONT_PT / 72 / (WIDTH_IN * AREA[0])
LINE = 1.25 * FONT_PT / 72 / (HEIGHT_IN * AREA[1])
BOLD = 1.15  # times as wide
MARK = (0.008, 0.022)  # half a point's width and height
MOST_COVERED = 0.1  # of a name, by points and other names; one that finds no better place is left out


@dataclass(frozen=True)
class Box:
    """Left, right, bottom and top as shares of the plotting area."""

    left: float
    right: float
    bottom: float
    top: float

    def overlap(self, other: "Box") -> float:
        """The area that both have in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0) * max(height, 0)


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
        spots = {item.name: _place(axes, item.speedup.value, losses[item.name].value) for item in shown}
        shown.sort(key=lambda item: item.name not in marked)  # the names that matter most choose their places first
        names = [(len(item.label) * (BOLD if item.name in marked else 1), spots[item.name]) for item in shown]
        for item, (box, covered) in zip(shown, _placed(names), strict=True):
            if covered > MOST_COVERED and item.name not in marked:
                continue
            middle = (box.bottom + box.top) / 2
            style = {"fontweight": "bold"} if item.name in marked else {}
            axes.text(
                *(box.left, middle, item.label), transform=axes.transAxes, va="center", fontsize=FONT_PT, color=INK,
                parse_math=False, zorder=4, **style,
            )  # fmt: skip
        axes.axvline(1, color=MUTED, linewidth=0.6, linestyle=":")
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_xlabel(_("speed-up, times (lines: 95 % intervals)"), parse_math=False)
        axes.set_ylabel(_("mean SSIM"))
    words = "; ".join(
        f"{item.label}: {figure('speedup', item.speedup.value)}×, SSIM {figure('ssim', item.ssim.value)}"
        for item in shown
    )
    return Chart(out.getvalue(), _("Points by speed-up and mean SSIM:") + f" {words}.")


def _losses(item: Candidate) -> Range:
    """What is missing to an SSIM of 1, none less than the axis can show; without an interval, a point."""
    ssim = item.ssim if item.has_interval else Range(*[item.ssim.value] * 3)
    return Range(*(max(1 - value, LEAST_LOSS) for value in (ssim.value, ssim.high, ssim.low)))


def _place(axes, x: float, loss: float) -> tuple[float, float]:
    """The point as a share of the plotting area, which is logarithmic from below to above."""
    (left, right), (bottom, top) = axes.get_xlim(), map(math.log10, axes.get_ylim())
    return (x - left) / (right - left), (math.log10(loss) - bottom) / (top - bottom)


def _placed(named: Sequence[tuple[float, tuple[float, float]]]) -> list[tuple[Box, float]]:
    """For each name, so many letters long, a box beside its point, where it covers least, and which share it covers.

    What may be covered are points, names before it, and what lies outside.
    """
    marks = [Box(x - MARK[0], x + MARK[0], y - MARK[1], y + MARK[1]) for _letters, (x, y) in named]
    found: list[tuple[Box, float]] = []
    for number, (letters, (x, y)) in enumerate(named):
        others = [mark for other, mark in enumerate(marks) if other != number]
        names = [box for box, covered in found if covered <= MOST_COVERED]
        boxes = [(box, _covered(box, [*others, *names])) for box in _around(letters, x, y)]
        found.append(min(boxes, key=lambda item: item[1]))
    return found


def _covered(box: Box, taken: Sequence[Box]) -> float:
    inside = Box(0, 1, 0, 1)
    area = (box.right - box.left) * (box.top - box.bottom)
    return (sum(map(box.overlap, taken)) + 2 * (area - box.overlap(inside))) / area


def _around(letters: float, x: float, y: float) -> list[Box]:
    """Places for a name, the best first, none on a line of the point: right above, left above, over it, and below."""
    width, gap = letters * LETTER, 1.6 * MARK[0]
    places = [
        (left, y + rise * LINE)
        for rise in (0.7, -0.7, 1.7, -1.7)
        for left in (x + gap, x - gap - width, x - width / 2)
        if abs(rise) > 1 or left != x - width / 2
    ]
    return [Box(left, left + width, middle - LINE / 2, middle + LINE / 2) for left, middle in places]
