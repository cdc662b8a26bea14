"""From values to a document: the template environment with its named filters, and the PDF from the same HTML."""

import functools
import gc
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from gettext import NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.project.errors import UserError
from stages.lib.quality.metrics import METRICS, rate_psnr
from stages.lib.reporting.answer import figure
from stages.lib.reporting.known_words import said
from stages.lib.reporting.languages import NO_BREAK_SPACE, day, number, percent_of, unit
from stages.lib.reporting.obstacle_words import obstacle_words
from stages.lib.reporting.result_charts import component_names
from stages.lib.reporting.slim_svg import slim

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
FONT_FILES = {
    ("Report Serif", "normal", 400): "STIXGeneral.ttf",
    ("Report Serif", "italic", 400): "STIXGeneralItalic.ttf",
    ("Report Serif", "normal", 700): "STIXGeneralBol.ttf",
    ("Report Serif", "italic", 700): "STIXGeneralBolIta.ttf",
    ("Report Sans", "normal", 400): "DejaVuSans.ttf",
    ("Report Sans", "italic", 400): "DejaVuSans-Oblique.ttf",
    ("Report Sans", "normal", 700): "DejaVuSans-Bold.ttf",
    ("Report Mono", "normal", 400): "DejaVuSansMono.ttf",
}
DTYPE_NAMES = {
    "float32": "FP32",
    "tensorfloat32": "TF32",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float8": "FP8",
    "int8": "INT8",
    "int6": "INT6",
    "int4": "INT4",
}
# What paper cannot use is not even read: a page for the screen may carry megabytes of it.
SCREEN_ONLY = re.compile(r"<script\b.*?</script>|<!-- screen only -->.*?<!-- end of screen only -->", re.DOTALL)
PRINT_ONLY = re.compile(r"<!-- print only -->.*?<!-- end of print only -->", re.DOTALL)
ESCAPED = {ord(sign): f"%{ord(sign):02X}" for sign in '%#"&<>()'}
_TAG = re.compile(r"<[^>]+>")
MISSING_LIBRARIES = (
    "WeasyPrint cannot load its system libraries ({reason}), so no PDF can be made. Install them:\n"
    "       Debian, Ubuntu: sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0\n"
    "       Fedora:         sudo dnf install pango\n"
    "       macOS:          brew install pango"
)


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
        "said": lambda text: said(text, translate),
        "obstacle_words": lambda obstacle: obstacle_words(obstacle, translate),
        "signed": signed,
        "dtype": dtype_name,
        "snr": lambda noise: number(-10 * math.log10(noise), ".1f") if noise > 0 else "∞",
        "data_uri": svg_data_uri,
        "rating": rate_psnr,
        "even_rows": even_rows,
        "component_name": component_names(translate).__getitem__,
        "memory_kind": {
            "rss": translations.gettext("resident"),
            "cuda": translations.gettext("allocated"),
        }.__getitem__,
    }
    return jinja


def dtype_name(dtype: str) -> str:
    """What readers call a dtype: FP32 for float32."""
    return DTYPE_NAMES.get(dtype, dtype)


def even_rows(items: Sequence[Any], most: int) -> list[list[Any]]:
    """Items in as few rows of at most `most` as possible, equally long; the last is filled up with None."""
    count = -(-len(items) // most)
    length = -(-len(items) // count)
    filled = [*items, *[None] * (count * length - len(items))]
    return [filled[start : start + length] for start in range(0, len(filled), length)]


def signed(value: float, digits: int) -> str:
    """A difference with its sign, '+0.13' or '−0.13'; one that rounds to zero has none."""
    text = number(value, f"+,.{digits}f")
    return text if any(digit in text for digit in "123456789") else text[1:]


def quantity(value: float, key: str) -> str:
    """`value` in the format of the metric `key`, with its unit: '17.02 MiB', '1.42×', '+4.7 %'."""
    sign = METRICS[key].unit
    if sign == "x":
        return f"{figure(key, value)}×"
    return f"{figure(key, value)}{NO_BREAK_SPACE}{unit(sign)}" if sign else figure(key, value)


def svg_data_uri(svg: str) -> "Markup":
    """An SVG image as the source of an <img>: its identifiers cannot clash with those of the page.

    Spelled out, not in base64, which takes a third more. What an attribute or an address may not hold is escaped, so
    nothing is left for the template to escape.
    """
    from markupsafe import Markup

    # double quotation marks end the attribute: single ones take their place, and font names need none
    text = _TAG.sub(lambda tag: tag[0].replace("'", "").replace('"', "'"), slim(svg))
    return Markup("data:image/svg+xml," + text.translate(ESCAPED))


def for_screen(html: str) -> str:
    """The page without what only paper needs: images in the form that the PDF takes as they are."""
    return PRINT_ONLY.sub("", html)


def uncollected(function: Callable) -> Callable:
    """`function` without garbage collection while it runs, which is a quarter of the time of a layout.

    What it builds lives until it ends: some 300 MiB, among which a collector finds next to nothing.
    """

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return function(*arguments, **named)
        finally:
            if enabled:
                gc.enable()

    return run


@uncollected
def pdf_of(html: str, epoch: int) -> bytes:
    """The tagged, bookmarked PDF/UA of a self-contained page. The same page and epoch (s) give the same bytes.

    Scripts, and what is marked with the comments `screen only` and `end of screen only`, are not read.
    """
    html = SCREEN_ONLY.sub("", html)
    weasyprint = import_weasyprint()
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data", "file"))
    with _source_date(epoch):
        fonts = weasyprint.text.fonts.FontConfiguration()
        style = weasyprint.CSS(string=_font_faces(), font_config=fonts, url_fetcher=fetcher)
        document = weasyprint.HTML(string=html, url_fetcher=fetcher)
        return document.write_pdf(
            stylesheets=[style], font_config=fonts, pdf_variant="pdf/ua-1", pdf_identifier=b"quantization-report"
        )


def import_weasyprint() -> Any:
    """WeasyPrint; a system library that it lacks is a UserError that says how to install it."""
    try:
        import weasyprint
        import weasyprint.text.fonts
        import weasyprint.urls
    except OSError as error:  # the Python package is there, a shared library it loads is not
        raise UserError(MISSING_LIBRARIES.format(reason=" ".join(str(error).split())[:120])) from None
    return weasyprint


def _font_faces() -> str:
    """@font-face rules for the fonts that matplotlib carries, so that no font of the system is needed."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    return "\n".join(
        f"@font-face {{ font-family: '{family}'; font-style: {style}; font-weight: {weight}; "
        f"src: url('{(folder / file).as_uri()}'); }}"
        for (family, style, weight), file in FONT_FILES.items()
    )


@contextmanager
def _source_date(epoch: int) -> Iterator[None]:
    """Font subsetting and metadata read the time from SOURCE_DATE_EPOCH; it is put back afterwards."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
