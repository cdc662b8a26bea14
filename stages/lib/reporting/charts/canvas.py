"""What every chart is drawn on: a figure of the text's width, its colours and letters, and its SVG without a date.

Letters are text in DejaVu Sans, whose metrics Verdana shares: the files are small, the PDF can be searched and is laid
out in three quarters of the time that glyphs drawn as paths take.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

from stages.lib.reporting.languages import localized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_IN = 6.69  # the width of the text on A4: 170 mm, so that 8.5 pt in a chart are 8.5 pt in print
INK, MUTED, FAINT, ACCENT, REFERENCE = "#1b2733", "#5b6875", "#d5dbe1", "#2f6f9f", "#b3bcc5"
FONTS = "'Report Sans', 'DejaVu Sans', Verdana, sans-serif"  # the first is the PDF's own DejaVu Sans
USUAL_ROWS, SHARE_OF_MANY = 8, 0.5  # charts of more rows than that have lower ones
# One hue from dark to light, hatched from the third on: told apart without colour and in grey print.
PARTS = (("#174a70", ""), ("#5f9fca", ""), ("#bcd7ea", "////"), ("#eef4f8", "\\\\\\\\"), ("#ffffff", "xxxx"))
SETTINGS = {
    "svg.hashsalt": "report",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.5,
    "hatch.color": "#174a70",
    "mathtext.fontset": "stix",
}


_ANCHORED = re.compile(
    r'(<text style="[^"]*?font-size: ([\d.]+)px[^"]*?)text-anchor: (start|middle|end);?'
    r'([^"]*" x=")([\d.-]+)("[^>]*>)([^<]*)<'
)
SHARES = {"start": 0, "middle": 0.5, "end": 1}


@dataclass(frozen=True)
class Chart:
    """An SVG and the alternative text that says the same in words."""

    svg: str
    alt: str


@contextlib.contextmanager
def blank_chart(height_in: float) -> Iterator[tuple["Figure", io.StringIO]]:
    """A figure of the text's width; when the block ends, its SVG is in the buffer."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = io.StringIO()
    with rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH_IN, height_in), dpi=FigureCanvasSVG.fixed_dpi, layout="constrained")
        FigureCanvasSVG(figure)  # letters are measured as they will be generated
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.04)
        yield figure, out
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_major_formatter().fix_minus = localized  # the last step from a number to its tick's label
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine(None)  # with one, saving would generate everything twice
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = _short(out.getvalue()).replace("font-family: 'DejaVu Sans'", f"font-family: {FONTS}")
    out.seek(0)
    out.truncate()
    out.write(svg)


def _short(svg: str) -> str:
    """The SVG without what no one sees, a third of it: metadata, indents, names of groups, digits below 0.01 pt."""
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    for idle in (r"<metadata>.*?</metadata>", r' transform="rotate\(-0 [^"]*\)"', r' id="[\w.]+_\d+"'):
        svg = re.sub(idle, "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)  # letters keep theirs
    return re.sub(r"<g>(<use[^>]*/>)</g>", r"\1", svg)


def anchored_left(svg: str) -> str:
    """The chart with every text placed by its beginning: a PDF needs a group of its own for one that is centred."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    def move(found: re.Match) -> str:
        before, size, anchor, between, x, after, text = found.groups()
        weight = "bold" if "font-weight: 700" in before else "normal"
        font = FontProperties(family=SETTINGS["font.family"], size=float(size), weight=weight)
        width, _height, _descent = text_to_path.get_text_width_height_descent(unescape(text), font, ismath=False)
        return f"{before}{between}{float(x) - width * SHARES[anchor]:.2f}{after}{text}<"

    return _ANCHORED.sub(move, svg)


def rows_in(count: int, usual_in: float) -> float:
    """The height of `count` rows, in inches: lower ones where there are many, so that a chart leaves room for text."""
    return count * usual_in * (1 if count <= USUAL_ROWS else SHARE_OF_MANY)
