"""The printed report: the same bytes anywhere, nothing cut, Russian letters on a machine that has no fonts."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

from stages.lib.reporting.document import TEMPLATES
from stages.lib.reporting.origin import find_origin
from stages.lib.reporting.pdf import FONT_FILES, pdf_of
from tests.conftest import PROJECT
from tests.results_folder import write_project

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "bf16": {"label": "BF16", "backend": "torch", "weights": "bfloat16"},
}
FILES = {
    "html": "html",
    "pdf": "pdf",
    "brief": "brief.pdf",
    "audit": "audit.pdf",
    "table": "md",
    "csv": "csv",
    "card": "yml",
}
NO_FONTS = (
    '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><cachedir>{}</cachedir></fontconfig>'
)
RUSSIAN = "Съешь ещё этих мягких французских булок, да выпей чаю: «№ 5» — 10 × 2 ≈ 20 → да"


def run(folder: Path, program: str, *words: str, **environment: str) -> str:
    """What a Python program prints in a process of its own in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, each run of white space as one space."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(pdf)).pages]


def printed(body: str, style: str = "") -> list[str]:
    """The pages of a body in the style of the report."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return pages_of(pdf_of(f'<html lang="en"><title>t</title><style>{css}{style}</style><body>{body}</body></html>', 0))


def test_a_process_that_ends_at_once_leaves_no_folder_of_fonts(tmp_path):
    """Protects the temporary folder: those that lay out a PDF are forked, and collect no garbage at their end."""
    body = '<html lang="en"><title>t</title><p style="font-family: Report Serif">t'
    program = "import gc, os; from stages.lib.reporting.pdf import pdf_of; gc.disable(); "
    run(tmp_path, f"{program}pdf_of({body!r}, 0); os._exit(0)", TMPDIR=str(tmp_path))
    assert not list(tmp_path.glob("weasyprint*"))


def test_contents_that_do_not_fit_move_to_the_next_page_whole():
    """Protects the chapter after them from being printed upon."""
    items = [f'<li class="level-1"><a href="#t"><span class="number">{n}</span>Chapter {n}</a></li>' for n in range(40)]
    columns = "".join(f"<ol>{''.join(part)}</ol>" for part in (items[:20], items[20:]))
    contents = f'<nav class="contents"><p class="contents-title">Contents</p><div class="columns">{columns}</div></nav>'
    theory = '<section class="chapter first"><h2 id="t">Theory</h2></section>'
    first, second = printed(f'<main><div style="height: 200mm">Before</div>{contents}{theory}</main>')
    assert "Before" in first and "Contents" not in first and "Chapter" not in first
    assert second.count("Chapter") == 40 and second.endswith("Theory 2")


def render(folder: Path, name: str, **environment: str) -> None:
    """The report as the stage makes it: name.html, name.pdf and so on."""
    words = [
        "--reports",
        "reports",
        "--images",
        "data/runs/embedded/images",
        "--base",
        "data/runs/embedded/models/base",
    ]
    for kind, file in FILES.items():
        words += [f"--{kind}", f"{name}.{file}"]
    done = subprocess.run(
        [sys.executable, "-m", "stages.report", *words], cwd=folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, rendered twice in processes that hash in different orders, the second without any font.

    In Russian: that is all of the English page, and a catalogue besides.
    """
    folder = tmp_path_factory.mktemp("print") / "project"
    write_project(folder, VARIANTS)
    settings = json.loads((folder / "params.yaml").read_text(encoding="utf-8"))
    settings["report"]["languages"] = ["ru"]
    (folder / "params.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "fonts.conf").write_text(NO_FONTS.format(folder / "cache"), encoding="utf-8")
    dates = {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    for words in (["init", "--quiet"], ["add", "params.yaml"], ["commit", "--quiet", "-m", "settings"]):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        subprocess.run(command, cwd=folder, env={**os.environ, **dates}, check=True)
    render(folder, "first", PYTHONHASHSEED="1")
    render(folder, "second", PYTHONHASHSEED="2", FONTCONFIG_FILE=str(folder / "fonts.conf"), TZ="Asia/Tokyo")
    return folder


def test_two_processes_give_the_same_bytes_even_without_fonts_of_the_system(rendered):
    """DVC sees no change where there is none: no hash order, clock or font of the machine is in the files."""
    for file in FILES.values():
        first, second = (rendered / f"{name}.{file}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name


@pytest.fixture(scope="module")
def pages(rendered: Path) -> list[str]:
    return pages_of((rendered / "first.pdf").read_bytes())


def test_the_first_page_says_what_was_measured_where_and_when(rendered, pages):
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=rendered, capture_output=True, text=True, check=True
    ).stdout
    for words in ("Встроенная модель сцен", commit[:12], "2023", "14", "Invented CPU", "0123456789ab"):
        assert words in pages[0], pages[0]


def test_every_page_after_the_first_bears_title_chapter_and_number(pages):
    for number, page in enumerate(pages[1:], 2):
        assert "Как квантизация меняет диффузионную модель" in page and str(number) in page
    results = next(number for number, page in enumerate(pages) if number > 2 and "4 Результаты" in page)
    assert "4 Результаты" in pages[results + 1]


def test_a_commit_of_the_readme_leaves_the_report_as_it_is(tmp_path, monkeypatch):
    """Protects against a report that changes because its own table was written into the README."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], check=True)

    git("init", "--quiet")
    for name in ("params.yaml", "README.md"):
        Path(name).write_text("first")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    before = find_origin()
    Path("README.md").write_text("second")
    assert find_origin() == before
    git("commit", "--quiet", "-am", "second")
    assert find_origin() == before
    Path("params.yaml").write_text("second")
    assert find_origin().modified


@pytest.mark.parametrize("file", sorted({file for (family, *_), file in FONT_FILES.items() if "Report" in family}))
def test_each_font_has_the_russian_letters(file):
    from fontTools.ttLib import TTFont
    from matplotlib import get_data_path

    letters = TTFont(Path(get_data_path()) / "fonts" / "ttf" / file).getBestCmap()
    assert not [letter for letter in "ёЁ№«»—×" + "".join(map(chr, range(0x410, 0x450))) if ord(letter) not in letters]


def test_a_russian_page_needs_no_font_of_the_system(tmp_path):
    (tmp_path / "fonts.conf").write_text(NO_FONTS.format(tmp_path / "cache"), encoding="utf-8")
    program = (
        "import sys; from pathlib import Path\n"
        "from stages.lib.reporting.document import TEMPLATES; from stages.lib.reporting.pdf import pdf_of\n"
        "css = (TEMPLATES / 'report.css').read_text(encoding='utf-8')\n"
        "page = f'<html lang=ru><title>t</title><style>{css}</style><p>{sys.argv[1]}</p></html>'\n"
        "Path('russian.pdf').write_bytes(pdf_of(page, 0))"
    )
    run(tmp_path, program, RUSSIAN, FONTCONFIG_FILE=str(tmp_path / "fonts.conf"))
    (page,) = pages_of((tmp_path / "russian.pdf").read_bytes())
    assert RUSSIAN in page.replace("-\u00ad", "").replace("\u00ad", "")


def rows(count: int, words: int = 12) -> str:
    return "".join(f"<tr><th>row {n}</th><td>begin{n} {'word ' * words} end{n}</td></tr>" for n in range(count))


def test_a_long_table_is_cut_between_rows_and_its_head_is_repeated():
    head = "<thead><tr><th>Headword</th><th>Text</th></tr></thead>"
    pages = printed(f'<div class="table long"><table>{head}<tbody>{rows(60, 60)}</tbody></table></div>')
    assert len(pages) > 2
    for page in pages:
        assert "Headword" in page
        for n in range(60):
            assert (f"begin{n} " in page) == (f"end{n}" in page.split() or f"end{n} " in f"{page} "), n


def test_a_long_table_leaves_no_row_alone():
    """Whatever stands before it, each page has three of its rows, or none, if it has three in all."""
    table = f'<div class="table long"><table><thead><tr><th>H</th></tr></thead><tbody>{rows(20)}</tbody></table></div>'
    for before_mm in range(170, 250, 20):
        pages = printed(f'<div style="height: {before_mm}mm"></div>{table}')
        shown = [sum(f"begin{n} " in page for n in range(20)) for page in pages]
        assert sum(shown) == 20 and not {1, 2} & set(shown), (before_mm, shown)


def test_a_short_table_is_kept_whole():
    table = f'<div class="table"><table><tbody>{rows(10)}</tbody></table></div>'
    for before_mm in range(170, 250, 40):
        pages = printed(f'<div style="height: {before_mm}mm"></div>{table}')
        assert sorted(sum(f"begin{n} " in page for n in range(10)) for page in pages)[-1] == 10


def test_a_caption_is_kept_whole_and_with_its_table():
    caption = f'<p class="caption">begin {"word " * 150} end</p>'
    table = f'<div class="table long">{caption}<table><tbody>{rows(20)}</tbody></table></div>'
    for before_mm in range(190, 250, 10):
        pages = printed(f'<div style="height: {before_mm}mm"></div>{table}')
        assert sum({"begin", "end"} <= set(page.split()) and "begin0" in page.split() for page in pages) == 1, before_mm


@pytest.mark.parametrize("path", sorted(PROJECT.glob("reports/*/report*.pdf")), ids=lambda path: str(path.parent.name))
def test_nothing_that_is_printed_leaves_the_margins(path):
    """Protects the last column of a wide table: a page cuts off what lies beside it."""
    margin = 20 / 25.4 * 72  # 20 mm in points, as the style says
    for number, page in enumerate(PdfReader(path).pages, 1):
        places: list[float] = []

        def see(text: str, cm: list[float], tm: list[float], *_: object, places: list[float] = places) -> None:
            if text.strip():
                places.append(cm[0] * tm[4] + cm[4])

        page.extract_text(visitor_text=see)
        assert max(places) < page.mediabox.width - margin, f"page {number}"


def test_what_is_for_the_screen_alone_is_not_read():
    pages = printed(
        "<p>paper</p><script>let word = 'program'</script><!-- screen only --><p>slider</p><!-- end of screen only -->"
    )
    assert pages[0].split()[:1] == ["paper"] and "slider" not in pages[0] and "program" not in pages[0]
