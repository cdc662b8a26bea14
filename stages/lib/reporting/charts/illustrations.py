"""The charts that are no charts of results: the pipeline, and what rounding does to real weights."""

import numpy as np

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, blank_chart
from stages.lib.reporting.charts.rounded_weight import RoundedWeight
from stages.lib.reporting.languages import Translate


def pipeline(_: Translate) -> str:
    """The stages as boxes and what flows between them as arrows."""
    boxes = {
        "download": (0.0, 1.0, _("download"), _("model, checked")),
        "noise": (0.0, 2.0, _("noise"), _("one latent per seed")),
        "environment": (0.0, 0.0, _("environment"), _("machine, versions")),
        "quantize": (1.0, 1.0, _("quantize"), _("sizes, operators")),
        "generate": (2.0, 2.0, _("generate"), _("images")),
        "benchmark": (2.0, 0.0, _("benchmark"), _("time, memory")),
        "evaluate": (3.0, 2.0, _("evaluate"), _("PSNR, SSIM")),
        "summarize": (3.0, 0.0, _("summarize"), _("all variants, all pairs")),
        "report": (3.0, 1.0, _("report"), _("HTML and PDF")),
    }
    arrows = (
        ("download", "quantize"),
        ("download", "noise"),
        ("noise", "generate"),
        ("quantize", "generate"),
        ("quantize", "benchmark"),
        ("environment", "benchmark"),
        ("generate", "evaluate"),
        ("benchmark", "summarize"),
        ("evaluate", "report"),
        ("summarize", "report"),
    )
    with blank_chart(2.35) as (figure, out):
        axes = figure.add_subplot()
        axes.set(xlim=(-0.46, 3.46), ylim=(-0.42, 2.42))
        axes.set_axis_off()
        for name, (x, y, title, note) in boxes.items():
            per_variant = name in ("quantize", "generate", "benchmark", "evaluate")
            _box(axes, x, y, title, note, per_variant)
        for start, end in arrows:
            _arrow(axes, boxes[start][:2], boxes[end][:2])
    return out.getvalue()


def _box(axes, x: float, y: float, title: str, note: str, per_variant: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = {"boxstyle": "round,pad=0,rounding_size=0.05", "linewidth": 0.8, "mutation_aspect": 1.2}
    if per_variant:  # a second outline behind: once for each variant
        axes.add_patch(FancyBboxPatch((x - 0.31, y - 0.31), 0.68, 0.56, fc="white", ec=ACCENT, **shape))
    fill, edge = ("#e4eff7", ACCENT) if per_variant else ("#f3f5f7", MUTED)
    axes.add_patch(FancyBboxPatch((x - 0.34, y - 0.27), 0.68, 0.56, fc=fill, ec=edge, **shape))
    axes.text(x, y + 0.11, title, ha="center", va="center", fontweight="bold")
    axes.text(x, y - 0.12, note, ha="center", va="center", fontsize=8)


def _arrow(axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:
        side = 0.31 if y1 > y0 else -0.33
        tail, head = (x0, y0 + side), (x1, y1 - side - (0.02 if y1 > y0 else -0.02))
    else:
        tail, head = (x0 + 0.38, y0), (x1 - 0.36, y1 + 0.16 * (y0 - y1))
    axes.annotate(
        "", head, tail, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    )


def rounding(weight: RoundedWeight, _: Translate) -> str:
    """Three panels: all weights, the staircase x -> x' over real weights near zero, the rounding error."""
    with blank_chart(2.7) as (figure, out):
        whole, zoom, error = figure.subplots(1, 3, width_ratios=(1, 1.35, 1))
        _whole(whole, weight, _)
        _staircase(zoom, weight, _)
        _errors(error, weight, _)
        for letter, axes, title in (
            ("a", whole, _("all weights")),
            ("b", zoom, _("zoom: ten steps")),
            ("c", error, _("rounding error")),
        ):
            axes.set_title(f"({letter}) {title}", loc="left", fontsize=8.5, fontweight="bold")
    return out.getvalue()


def _whole(axes, weight: RoundedWeight, _: Translate) -> None:
    limit = 127 * weight.scale
    axes.hist(weight.values, bins=np.linspace(-limit, limit, 61), color=ACCENT, log=True)
    axes.set_xlabel(_("weight x"))
    axes.set_ylabel(_("weights per bin"))
    for edge, name in ((-limit, "−127"), (limit, "+127")):
        axes.axvline(edge, color=INK, linewidth=0.8, linestyle="--")
        axes.annotate(name, (edge, 1), (3 if edge < 0 else -3, -2), ("data", "axes fraction"), "offset points",
                      ha="left" if edge < 0 else "right", va="top")  # fmt: skip
    axes.margins(x=0.03)


def _staircase(axes, weight: RoundedWeight, _: Translate) -> None:
    steps, scale = 5, weight.scale
    limit = (steps + 0.5) * scale
    near = weight.values[np.abs(weight.values) <= limit]
    counts, edges = np.histogram(near, bins=np.linspace(-limit, limit, 8 * (2 * steps + 1) + 1))
    behind = axes.twinx()
    behind.stairs(counts, edges / scale, fill=True, color=FAINT)
    behind.set(yticks=[], ylim=(0, counts.max() * 2.6))
    behind.spines[["right", "left"]].set_visible(False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    marks = np.arange(-steps, steps + 1)
    axes.plot([-steps - 0.5, steps + 0.5], [-steps - 0.5, steps + 0.5], color=MUTED, linewidth=0.8, linestyle="--")
    axes.hlines(marks, marks - 0.5, marks + 0.5, color=INK, linewidth=1.8)
    axes.vlines(marks[:-1] + 0.5, marks[:-1], marks[1:], color=INK, linewidth=0.6)
    axes.set(xticks=marks[1::2], yticks=marks[1::2], xlim=(-steps - 0.5, steps + 0.5), ylim=(-steps - 0.9, steps + 0.9))
    axes.set_xlabel(_("x before, in steps s"))
    axes.set_ylabel(_("x′ after, in steps s"))
    axes.annotate(_("grey: the real weights"), (0.97, 0.05), xycoords="axes fraction", ha="right", color=MUTED)


def _errors(axes, weight: RoundedWeight, _: Translate) -> None:
    axes.hist(weight.errors_in_steps, bins=np.linspace(-0.5, 0.5, 41), color=ACCENT)
    expected = weight.values.size / 40
    axes.axhline(expected, color=INK, linewidth=0.9, linestyle="--")
    axes.annotate(_("dashed: even spread"), (0.98, 0.95), xycoords="axes fraction", ha="right", va="top")
    axes.set_xlabel(_("error (x′ − x) / s"))
    axes.set_ylabel(_("weights per bin"))
    axes.set(xticks=[-0.5, 0, 0.5], ylim=(0, expected * 1.6))
    axes.ticklabel_format(axis="y", style="plain")
