"""From values to a page: the template environment with its named filters."""

import math
import re
from gettext import NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.quality.metrics import rate_psnr
from stages.lib.reporting.charts.canvas import anchored_left
from stages.lib.reporting.images.figures import even_rows
from stages.lib.reporting.languages import day, number, percent_of, unit
from stages.lib.reporting.numbers import dtype_name, figure, quantity, signed
from stages.lib.reporting.words.names import names_of, reason, translated
from stages.lib.reporting.words.obstacle_words import obstacle_words

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
ESCAPED = {ord(sign): f"%{ord(sign):02X}" for sign in '%#"&<>()'}
_TAG = re.compile(r"<[^>]+>")


def environment(templates: Path, translations: NullTranslations) -> "Environment":
    """Jinja that refuses undefined names and escapes everything; its filters are the report's number formats."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translate = translations.gettext
    jinja.install_gettext_translations(translations, newstyle=True)
    jinja.filters |= {
        "figure": lambda value, key: figure(key, value),
        "quantity": quantity,
        "millions": lambda count: number(count / 1e6, ",.2f"),
        "integer": lambda count: number(count, ",d"),
        "percent": lambda value: percent_of(value / 100, ".1f"),
        "decimal": lambda value, digits: number(value, f",.{digits}f"),
        "plain": lambda value: number(value, "g"),
        "day": day,
        "unit": unit,
        "translated": lambda text: translated(text, translate),
        "reason": lambda code: reason(code, translate),
        "obstacle_words": lambda obstacle: obstacle_words(obstacle, translate),
        "signed": signed,
        "dtype": dtype_name,
        "snr": lambda noise: number(-10 * math.log10(noise), ".1f") if noise > 0 else "∞",
        "data_uri": svg_data_uri,
        "anchored_left": anchored_left,
        "rating": lambda psnr_db: names_of("rating", translate)[rate_psnr(psnr_db)],
        "even_rows": even_rows,
        "component_name": names_of("component", translate).__getitem__,
        "memory_kind": names_of("memory", translate).__getitem__,
    }
    return jinja


def svg_data_uri(svg: str) -> "Markup":
    """An SVG image as the source of an <img>: its identifiers cannot clash with those of the page.

    Spelled out, not in base64, which takes a third more. What an attribute or an address may not hold is escaped, so
    nothing is left for the template to escape.
    """
    from markupsafe import Markup

    # double quotation marks end the attribute: single ones take their place, and font names need none
    text = _TAG.sub(lambda tag: tag[0].replace("'", "").replace('"', "'"), svg[svg.index("<svg") :])
    return Markup("data:image/svg+xml," + text.translate(ESCAPED))


def for_screen(html: str) -> str:
    """The page without what only paper needs: images in the form that the PDF takes as they are, and a cover."""
    return without(html, "print only")


def without(html: str, words: str) -> str:
    """The page without what stands between the comments of these words and `end of` them, which may hold the same."""
    kept, depth, start = [], 0, 0
    for mark in re.finditer(f"<!-- (end of )?{words} -->", html):
        if depth == 0:
            kept.append(html[start : mark.start()])
        depth += -1 if mark[1] else 1
        start = mark.end()
    return "".join([*kept, html[start:]])
