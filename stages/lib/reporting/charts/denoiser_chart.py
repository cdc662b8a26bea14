"""Where formats pay: speed-up over compiled 16 bits against the size of the denoiser's matrix products."""

import math
from collections.abc import Sequence

from stages.lib.reporting.charts.canvas import ACCENT, FAINT, INK, MUTED, Chart, blank_chart
from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.numbers import dtype_name
from stages.lib.results.denoisers import DenoiserRow

HEIGHT_IN = 2.1
MARKS = {"float8": ("o", ACCENT), "int8": ("s", "white")}


def denoiser_chart(rows: Sequence[DenoiserRow], _: Translate) -> Chart | None:
    """The fastest format of FP8 and of INT8 activations of each model and batch; None where there is none."""
    best: dict[tuple[str, int, str], DenoiserRow] = {}
    for row in rows:
        key = row.model, row.batch, row.arithmetic
        if row.arithmetic in MARKS and not row.failure and row.speedup > (best[key].speedup if key in best else 0):
            best[key] = row
    if not best:
        return None
    with blank_chart(HEIGHT_IN) as (canvas, out):
        axes = canvas.add_subplot()
        axes.set_xscale("log")
        for arithmetic, (mark, face) in MARKS.items():
            found = [row for row in best.values() if row.arithmetic == arithmetic]
            places = [row.typical_gmac for row in found], [row.speedup for row in found]
            axes.plot(*places, mark, ms=6, mfc=face, mec=ACCENT, label=dtype_name(arithmetic), zorder=3)
        names = {(row.model, row.batch): row for row in sorted(best.values(), key=lambda row: row.speedup)}
        middle = math.sqrt(
            min(row.typical_gmac for row in names.values()) * max(r.typical_gmac for r in names.values())
        )
        for row in names.values():
            side, away = ("left", 7) if row.typical_gmac <= middle else ("right", -7)
            words = row.model if row.batch == 1 else _("batch %(n)d") % {"n": row.batch}
            axes.annotate(
                words, (row.typical_gmac, row.speedup), (away, 0), textcoords="offset points", ha=side, fontsize=7.5,
                va="center", color=INK, parse_math=False,
            )  # fmt: skip
        axes.axhline(1, color=MUTED, linewidth=0.6, linestyle=":")
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.margins(0.12, 0.25)
        axes.set_xlabel(_("typical product of a Linear layer, 10⁹ multiply-accumulates"))
        axes.set_ylabel(_("speed-up, times"))
        axes.legend(loc="upper left")
    words = "; ".join(
        _("%(model)s, batch %(batch)d, %(format)s: %(speedup)s")
        % {
            "model": row.model,
            "batch": row.batch,
            "format": dtype_name(row.arithmetic),
            "speedup": f"{number(row.speedup, '.2f')}×",
        }
        for row in best.values()
    )
    return Chart(out.getvalue(), _("Points by size of product and speed-up over compiled 16 bits:") + f" {words}.")
