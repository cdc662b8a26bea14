"""The printed report: a tagged PDF of the same HTML, with the fonts that matplotlib carries."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.reporting.document import without

FONT_FILES = {
    ("Report Serif", "normal", 400): "STIXGeneral.ttf",
    ("Report Serif", "italic", 400): "STIXGeneralItalic.ttf",
    ("Report Serif", "normal", 700): "STIXGeneralBol.ttf",
    ("Report Serif", "italic", 700): "STIXGeneralBolIta.ttf",
    ("Report Sans", "normal", 400): "DejaVuSans.ttf",
    ("Report Sans", "italic", 400): "DejaVuSans-Oblique.ttf",
    ("Report Sans", "normal", 700): "DejaVuSans-Bold.ttf",
    ("Report Mono", "normal", 400): "DejaVuSansMono.ttf",
    # What formulas are set in besides.
    ("STIXNonUnicode", "italic", 400): "STIXNonUniIta.ttf",
    ("STIXSizeOneSym", "normal", 400): "STIXSizOneSymReg.ttf",
    ("STIXSizeTwoSym", "normal", 400): "STIXSizTwoSymReg.ttf",
    ("STIXSizeThreeSym", "normal", 400): "STIXSizThreeSymReg.ttf",
    ("STIXSizeFourSym", "normal", 400): "STIXSizFourSymReg.ttf",
}
# What paper cannot use is not even read: a page for the screen may carry megabytes of it.
SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL)
MISSING_LIBRARIES = (
    "WeasyPrint cannot load its system libraries ({reason}), so no PDF can be made. Install them:\n"
    "       Debian, Ubuntu: sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0\n"
    "       Fedora:         sudo dnf install pango\n"
    "       macOS:          brew install pango"
)


def for_print(html: str) -> str:
    """The page without what is for the screen alone; small words, which paper has beside a figure, after a space."""
    # Of a space that a style sheet inserts WeasyPrint makes a box of its own, two thousand in a report.
    return SCRIPTS.sub("", without(without(html, "page only"), "screen only")).replace("<small>", " <small>")


def pdf_of(html: str, epoch: int) -> bytes:
    """The tagged, bookmarked PDF/UA of a self-contained page. The same page and epoch (s) give the same bytes.

    Scripts, and what is marked with the comments `screen only` or `page only`, and `end of` the same, are not read.
    """
    html = for_print(html)
    weasyprint = import_weasyprint()
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data", "file"))
    with _source_date(epoch):
        fonts = weasyprint.text.fonts.FontConfiguration()
        style = weasyprint.CSS(string=_font_faces(), font_config=fonts, url_fetcher=fetcher)
        document = weasyprint.HTML(string=html, url_fetcher=fetcher)
        try:
            return document.write_pdf(
                stylesheets=[style],
                font_config=fonts,
                pdf_variant="pdf/ua-1",
                pdf_identifier=b"quantization-report",
                finisher=_merge_spans,
            )
        finally:  # its temporary folder, which stays where a process ends before garbage is collected
            fonts.__del__()


def _merge_spans(_document: Any, pdf: Any) -> None:
    """Give the text of structure elements that say nothing of it to their parents.

    WeasyPrint makes one for each piece of text, which is more than half of the objects of a report full of tables.
    """
    elements = {item.reference: item for item in pdf.objects if _is(item, "/StructElem")}
    merged = {}
    for reference, element in reversed(elements.items()):  # children come after their parents
        parent = elements.get(element["P"])
        plain = element["S"] in ("/Span", "/NonStruct") and element.keys() == {"Type", "S", "K", "Pg", "P"}
        if plain and parent and parent.get("Pg") == element["Pg"] and all(isinstance(kid, int) for kid in element["K"]):
            place = parent["K"].index(reference)
            parent["K"][place : place + 1] = element["K"]
            merged[reference] = element["P"]
            element.free, element.generation, element.number = "f", 1, 0  # an entry that is not used
    root = next(item for item in pdf.objects if _is(item, "/StructTreeRoot"))
    tree = next(item for item in pdf.objects if item.reference == root["ParentTree"])
    for marks in (item for item in tree["Nums"] if isinstance(item, list)):
        for number, reference in enumerate(marks):
            while reference in merged:
                reference = merged[reference]
            marks[number] = reference


def _is(item: Any, kind: str) -> bool:
    return isinstance(item, dict) and item.get("Type") == kind


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
