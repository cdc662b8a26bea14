"""The study has a document of its own: all of it is there, and the printed report is not interrupted by it."""

import io
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from stages import report
from stages.lib.reporting.images.figures import page_images
from stages.lib.reporting.outline import FIGURES, STUDY_TABLES
from stages.lib.reporting.pdf import for_print, pdf_of
from tests.pages import subject
from tests.results_folder import write_project
from tests.stages.test_report import VARIANTS

MOST_PAGES = 10


@pytest.fixture(scope="module", params=["en", "ru"])
def documents(request, tmp_path_factory) -> tuple[str, str, str]:
    """The page as it is printed, the page itself, and the audit."""
    folder: Path = tmp_path_factory.mktemp("audit") / "project"
    write_project(folder, VARIANTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        about = subject()
        page, _brief, audit = report.pages(
            about, page_images(about.results, about.prompts, about.images), request.param
        )
    return for_print(page), page, audit


def test_what_is_printed_leads_nowhere_else(documents):
    """Protects a reader of the PDF from links to chapters that only the page has."""
    printed, page, _audit = documents
    assert set(re.findall(r'href="#([^"]+)"', printed)) <= set(re.findall(r'\bid="([^"]+)"', printed))
    assert "page only" not in printed
    for key in ("table-samples", "table-all-prompts", "beside-sizes", "table-audit", "table-future"):
        assert f'id="{key}"' in page and f'id="{key}"' not in printed


def test_the_audit_has_every_table_figure_and_listing_of_the_study(documents):
    audit = documents[2]
    assert set(re.findall(r'href="#([^"]+)"', audit)) <= set(re.findall(r'\bid="([^"]+)"', audit))
    ids = re.findall(r'\bid="([^"]+)"', audit)
    assert len(ids) == len(set(ids))
    judged = {f"beside-{key}" for key in STUDY_TABLES if key not in ("future", "prospects")}
    assert judged | {"table-audit", "table-formulas", "table-future", "table-prospects"} <= set(ids)
    rows = audit.partition('class="concordance"')[2].partition("<tbody>")[2].count("<tr>")
    assert rows == len(STUDY_TABLES) + len(FIGURES) + 3


def test_the_audit_has_few_pages(documents):
    assert len(PdfReader(io.BytesIO(pdf_of(documents[2], 0))).pages) <= MOST_PAGES


def test_the_concordance_names_the_document_that_has_the_chapter(documents):
    """Protects the study's author from looking into the printed report for what the page alone has."""
    printed, page, audit = documents
    rows = re.findall(r"<td>([\d.]+) [^<]*?\((\w+)[.\w]*\.(pdf|html)\)</td>", audit.partition('class="concordance"')[2])
    assert len(rows) == len(STUDY_TABLES) - 2 + len(FIGURES)
    for number, _document, kind in rows:
        heading = re.compile(rf'<h\d id="[^"]+"><span class="number">{re.escape(number)}</span>')
        assert heading.search(page) and bool(heading.search(printed)) == (kind == "pdf"), number
