"""The formulas as SVGs: of letters for paper, since a PDF carries their fonts, of outlines for the screen."""

from html import escape
from typing import NamedTuple

import numpy as np

from stages.lib.reporting.charts.canvas import INK, SETTINGS
from stages.lib.reporting.languages import Translate

FORMULA_SIZE_PT, MARGIN_PT = 11, 1.44
# Mathtext of the formulas that the report uses, by name.
FORMULAS = {
    "quantize": r"$q = \mathrm{clamp}\left(\mathrm{round}\left(\dfrac{x}{s}\right) + z,"
    r"\; q_{\min},\; q_{\max}\right)$",
    "dequantize": r"$x^{\prime} = (q - z)\, s$",
    "scale": r"$s = \dfrac{\max|x|}{127}, \quad z = 0$",
    "error": r"$|x - x^{\prime}| \leq \dfrac{s}{2}$",
    "forward": r"$q(x_t \mid x_{t-1}) = \mathcal{N}\left(x_t;\; \sqrt{1 - \beta_t}\; x_{t-1},\; \beta_t I\right)$",
    "reverse": r"$p_\theta(x_{t-1} \mid x_t) ="
    r" \mathcal{N}\left(x_{t-1};\; \mu_\theta(x_t, t),\; \Sigma_\theta(x_t, t)\right)$",
    "velocity": r"$v = \sqrt{\bar\alpha_t}\; \epsilon - \sqrt{1 - \bar\alpha_t}\; x_0$",
    "forward-flow": r"$x_t = (1 - t)\, x_0 + t\, \epsilon$",
    "reverse-flow": r"$x_{t-\Delta} = x_t - \Delta\, v_\theta(x_t, t, c)$",
    "guidance": r"$\hat{f} = f_\theta(x_t, t) + w\left(f_\theta(x_t, t, c) - f_\theta(x_t, t)\right)$",
    "guidance-from-prompt": r"$\hat{f} = f_\theta(x_t, t, c) + w\left(f_\theta(x_t, t, c) - f_\theta(x_t, t)\right)$",
    "psnr": r"$\mathrm{PSNR} = 10 \log_{10} \dfrac{255^2}{\mathrm{MSE}}, \quad"
    r" \mathrm{MSE} = \dfrac{1}{3HW} \sum_{i=1}^{3HW} (a_i - b_i)^2$",
    "ssim": r"$\mathrm{SSIM}(x, y) = \dfrac{(2\mu_x\mu_y + C_1)(2\sigma_{xy} + C_2)}"
    r"{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}$",
    "size": r"$\mathrm{%(bytes)s} = \sum_{i=1}^{N} \dfrac{\mathrm{numel}_i \times \mathrm{bits}_i}{8}$",
    "study-quantize": r"$Q(x) = \mathrm{round}\left(\dfrac{x}{\Delta}\right) \cdot \Delta + z$",
    "study-psnr": r"$\mathrm{PSNR} = 20 \log_{10} \dfrac{\mathrm{MAX}_I}{\sqrt{\mathrm{MSE}}}$",
    "study-size": r"$\mathrm{%(size)s} = \sum_{i=1}^{N} \mathrm{numel}_i \times \mathrm{element\_size}_i$",
    "efficiency": r"$\mathrm{%(efficiency)s} = \mathrm{%(compression)s} \times \mathrm{%(speedup)s} \times"
    r" \overline{\mathrm{SSIM}}$",
    "cost": r"$\mathrm{%(cost)s} = \dfrac{\mathrm{%(time)s}}{3600\,\mathrm{%(second)s}} \times"
    r" \dfrac{\mathrm{%(price)s}}{\mathrm{%(utilisation)s}}$",
    "speedup": r"$\ln\, \mathrm{%(speedup)s} = \dfrac{1}{J} \sum_{j=1}^{J} \dfrac{1}{K_j} \sum_{k=1}^{K_j}"
    r" \ln\, \dfrac{t_{jk}^{\mathrm{%(baseline)s}}}{t_{jk}^{\mathrm{%(variant)s}}}$",
}
PDF_FONTS = {"STIXGeneral": "Report Serif"}  # others are called as they are in stages.lib.reporting.pdf


class Formula(NamedTuple):
    """Two SVGs of the same size. Browsers lack mathematical fonts, and outlines take ten times the bytes of letters."""

    paper: str
    screen: str


def formula(name: str, _: Translate = str) -> Formula:
    """The formula, cropped to its ink."""
    from matplotlib import rc_context
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    words = {
        "bytes": _("theoretical bytes"),
        "speedup": _("speed-up"),
        "baseline": _("baseline"),
        "variant": _("variant"),
        "size": _("size"),
        "efficiency": _("efficiency"),
        "compression": _("compression"),
        "cost": _("cost per image"),
        "time": _("latency"),
        "second": _("s"),
        "price": _("price per hour"),
        "utilisation": _("utilisation"),
    }
    in_mathtext = {key: word.replace(" ", r"\ ").replace("-", r"\!-\!") for key, word in words.items()}
    text = FORMULAS[name] % in_mathtext
    with rc_context(SETTINGS):
        font = FontProperties(family=SETTINGS["font.family"], size=text_to_path.FONT_SCALE)
        letters = text_to_path.mathtext_parser.parse(text, 72, font)  # which the path then need not do again
        outline = _outline(*text_to_path.get_text_path(font, text, ismath=True))
        _width, least_height, least_descent = text_to_path.get_text_width_height_descent("lp", font, ismath=False)
    scale = FORMULA_SIZE_PT / text_to_path.FONT_SCALE
    width = round(scale * letters.width + 2 * MARGIN_PT, 2)
    height = round(scale * max(letters.height, least_height) + 2 * MARGIN_PT, 2)
    base = round(height - MARGIN_PT - scale * max(letters.depth, least_descent), 2)
    path = f'<path transform="translate({MARGIN_PT} {base}) scale({scale} {-scale})" d="{outline}"/>'
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" fill="{INK}">'
    )
    return Formula(f"{opening}{_letters(letters, base, scale)}</svg>", f"{opening}{path}</svg>")


def _letters(parsed, base: float, scale: float) -> str:
    """Each glyph as a text and each rule as a rectangle; `base` is where the line stands, from above."""
    found = []
    for font, size, number, _glyph, x, y in parsed.glyphs:
        style = ' font-style="italic"' if "Italic" in font.style_name else ""
        place = f'x="{round(MARGIN_PT + scale * x, 2)}" y="{round(base - scale * y, 2)}"'
        family = PDF_FONTS.get(font.family_name, font.family_name)
        look = f'font-size="{round(scale * size, 2)}px" font-family="{family}"{style}'
        found.append(f"<text {place} {look}>{escape(chr(number))}</text>")
    for x, y, width, height in parsed.rects:
        place = f'x="{round(MARGIN_PT + scale * x, 2)}" y="{round(base - scale * (y + height), 2)}"'
        found.append(f'<rect {place} width="{round(scale * width, 2)}" height="{round(scale * height, 2)}"/>')
    return "".join(found)


def _outline(points: np.ndarray, codes: np.ndarray) -> str:
    """A path of matplotlib as an SVG writes it."""
    from matplotlib.path import Path

    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "z"}
    parts = []
    for numbers, code in Path(points, codes).iter_segments(simplify=False):
        # a tenth is a thousandth of the size of the letters
        shown = (
            () if code == Path.CLOSEPOLY else (str(number).removesuffix(".0") for number in numbers.round(1).tolist())
        )
        parts.append(letters[code] + " ".join(shown))
    return "".join(parts)
