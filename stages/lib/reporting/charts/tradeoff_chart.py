"""The trade-off as a chart: quality against size, time and memory, with the front of what nothing dominates."""

import math
from collections.abc import Sequence

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, Chart, blank_chart
from stages.lib.reporting.languages import Translate, number
from stages.lib.results.candidates import Candidate
from stages.lib.results.pareto import Standing

LEAST_LOSS = 1e-6  # a mean SSIM nearer to 1 than this is generated at the upper edge


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
    with blank_chart(4.1) as (figure, out):
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, (key, standing) in zip(grid, shown.items(), strict=True):
            scale = baseline_s if key == "time_s" else 1.0
            points = {name: (item.cost / scale, losses[name], item.by is None) for name, item in standing.items()}
            _panel(axes, points, numbers)
            axes.set_xlabel(names[key])
        _ssim_axis(grid[0], max(losses.values(), default=0.1))
        grid[0].set_ylabel(_("mean SSIM"))
    fronts = [
        f"{names[key]}: {', '.join(labels[name] for name, item in standing.items() if item.by is None)}"
        for key, standing in shown.items()
    ]
    return Chart(out.getvalue(), _("Points by cost and mean SSIM. On the front:") + f" {'; '.join(fronts)}.")


def _panel(axes, points: dict[str, tuple[float, float, bool]], numbers: dict[str, int]) -> None:
    on_front = sorted((cost, loss) for cost, loss, kept in points.values() if kept)
    axes.step(*zip(*on_front, strict=True), where="post", color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
    for name, (cost, loss, kept) in points.items():
        fill, text = (ACCENT, "white") if kept else ("white", INK)
        edge = ACCENT if kept else MUTED
        axes.plot(
            [cost], [loss], "o", markersize=10, markerfacecolor=fill, markeredgecolor=edge, mew=0.8, zorder=2 + kept
        )
        axes.text(cost, loss, str(numbers[name]), ha="center", va="center_baseline", fontsize=6.5, color=text, zorder=4)
    costs = [cost for cost, _loss, _kept in points.values()]
    margin = 0.08 * (max(costs) - min(costs)) or 1.0
    axes.set_xlim(min(costs) - margin, max(costs) + margin)
    axes.grid(color=FAINT, linewidth=0.5)


def _ssim_axis(axes, largest: float) -> None:
    """SSIM, higher above: ticks at 0.9, 0.99 and so on, and at the upper edge 1."""
    bottom = max(largest * 1.5, 0.2)
    axes.set_yscale("log")
    axes.set_ylim(bottom, LEAST_LOSS / 1.8)
    decades = [10.0**-power for power in range(1, round(-math.log10(LEAST_LOSS)) + 1)]
    ticks = [loss for loss in (0.5, 0.2, *decades) if LEAST_LOSS <= loss <= bottom]
    digits = [max(1, -math.floor(math.log10(loss))) for loss in ticks]
    words = ["1" if a <= LEAST_LOSS else number(1 - a, f".{n}f") for a, n in zip(ticks, digits, strict=True)]
    axes.set_yticks(ticks, words)
    axes.minorticks_off()
