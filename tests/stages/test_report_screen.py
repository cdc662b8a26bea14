"""The report in a reader's browser: it works from a file, by pointer and keyboard, wide and narrow, light and dark.

Needs Chromium; without one every test here is skipped and says how to install it.
"""

import json
import re
from pathlib import Path

import pytest

from stages.lib.reporting.document import TEMPLATES, for_screen
from tests.browser import Browser, chromium
from tests.pages import rendered
from tests.results_folder import PROMPTS, write_project

HOSTILE = "</script><script>document.title='hurt'</script> & \"quoted\" $x$"
VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
    "bf16": {"label": HOSTILE, "backend": "torch", "weights": "bfloat16"},
    "int8-simulated": {"label": "INT8 Simulated", "backend": "torch", "weights": "int8", "simulated": True},
}
ENTER, RIGHT, END, SPACE = ("Enter", 13), ("ArrowRight", 39), ("End", 35), (" ", 32)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page for the screen of a small project, as a file."""
    folder = tmp_path_factory.mktemp("project")
    prompts = [(*PROMPTS[0][:1], f"a sunset, {HOSTILE}".replace('"', "'"), *PROMPTS[0][2:]), *PROMPTS[1:]]
    write_project(folder, VARIANTS, prompts=prompts)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        html = rendered()
    file = folder / "report.html"
    file.write_text(for_screen(html), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    chromium()
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started, page) -> Browser:
    """The page, freshly opened in a wide window; afterwards nothing was complained of and nothing fetched."""
    started.open(page)
    started.evaluate("localStorage.clear()")
    started.requests.clear()
    started.complaints.clear()
    started.open(page)
    yield started
    assert started.complaints == []
    assert [url[:80] for url in started.requests if not url.startswith(("data:", page.as_uri()))] == []


def split(browser: Browser) -> float:
    """Where the slider's line stands, in percent, as it is generated."""
    style = browser.evaluate("getComputedStyle(document.getElementById('viewer-over')).clipPath")
    shown = browser.evaluate("document.getElementById('viewer-slider').style.getPropertyValue('--at') || '50%'")
    assert style.startswith("inset(")
    return float(shown.rstrip("%"))


def focus(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def test_the_slider_follows_the_pointer(browser):
    browser.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    browser.evaluate("document.getElementById('viewer-slider').scrollIntoView({block: 'center'})")
    box = browser.evaluate("(({x, y, width, height}) => [x, y, width, height])"
                           "(document.getElementById('viewer-slider').getBoundingClientRect())")  # fmt: skip
    x, y, width, height = box
    assert split(browser) == 50
    browser.drag(x + width / 2, y + height / 2, x + 0.8 * width)
    assert split(browser) == pytest.approx(80, abs=1)


def test_the_slider_follows_the_keyboard_and_says_where_it_is(browser):
    focus(browser, "#viewer-range")
    browser.press(*RIGHT)
    assert split(browser) == 51
    browser.press(*END)
    assert split(browser) == 100
    said = browser.evaluate("document.getElementById('viewer-range').getAttribute('aria-valuetext')")
    assert said == "100 % of the width show FP32"


def test_the_viewer_begins_with_the_worst_image_of_all_where_the_reference_is_recommended(browser, page):
    """Worst by SSIM, counted here from the same results as the page's tables."""
    reports = page.parent / "reports/embedded/quality"
    rows = {name: json.loads((reports / f"{name}.json").read_text("utf-8"))["per_image"] for name in list(VARIANTS)[1:]}
    worst, row = min(((name, row) for name in rows for row in rows[name]), key=lambda item: item[1]["ssim"])
    label = browser.evaluate("document.querySelector('#viewer-b').selectedOptions[0].textContent")
    assert label.split() == VARIANTS[worst]["label"].split()
    status = browser.evaluate("document.getElementById('viewer-status').textContent")
    assert "number 1 of 5 from the worst" in status and f"SSIM {row['ssim']:.3f}" in status
    choices = browser.evaluate("Array.from(document.querySelectorAll('#viewer-prompt option'), o => o.textContent)")
    values = [float(re.match(r"SSIM ([\d.]+):", choice)[1]) for choice in choices]
    assert values == sorted(values) and len(values) == len(PROMPTS)


def test_any_two_formats_can_be_chosen_and_the_figures_follow(browser, page):
    pair = browser.evaluate("""(() => {
        for (const [id, at] of [["a", 3], ["b", 1]]) {
            const select = document.getElementById("viewer-" + id);
            select.value = at;
            select.dispatchEvent(new Event("change", {bubbles: true}));
        }
        return [document.getElementById("viewer-status").textContent,
                document.getElementById("viewer-ssim-b").textContent];
    })()""")
    pairs = json.loads((page.parent / "reports/embedded/pairs.json").read_text("utf-8"))["pairs"]
    found = next(row for row in pairs if {row["reference"], row["variant"]} == {"fp16", "int8-simulated"})
    lowest = min(row["ssim"] for row in found["per_image"])
    assert pair[0].startswith("INT8 Simulated against FP16, number 1 of 5") and f"SSIM {lowest:.3f}" in pair[0]
    assert re.fullmatch(r"\d\.\d{3}", pair[1])


def test_choosing_the_same_format_twice_changes_places(browser):
    chosen = browser.evaluate("""(() => {
        const [a, b] = ["a", "b"].map((id) => document.getElementById("viewer-" + id));
        const before = [a.value, b.value];
        a.value = b.value;
        a.dispatchEvent(new Event("change", {bubbles: true}));
        return [...before, a.value, b.value];
    })()""")
    assert chosen[:2] == chosen[:1:-1]


def test_the_map_of_differences_is_white_between_equal_formats_and_not_between_others(browser, page):
    """Protects the map from showing a lossy copy's errors: FP16 differs from FP32 by a third of a level."""
    browser.evaluate("document.querySelector('input[value=difference]').click()")
    note = "document.getElementById('viewer-map-note').textContent"
    browser.wait(f"{note} !== ''")
    assert not browser.evaluate(note).startswith("Mean over all squares 0.0,")
    choose = "(() => { const b = document.getElementById('viewer-b'); b.value = 1;"
    browser.evaluate(choose + " b.dispatchEvent(new Event('change')); })()")
    browser.wait(f"{note}.startsWith('Mean over all squares 0.0, largest 0 ')")
    grey = browser.evaluate("(({width, height}) => Math.min(...document.getElementById('viewer-map')"
                            ".getContext('2d').getImageData(0, 0, width, height).data))"
                            "(document.getElementById('viewer-map'))")  # fmt: skip
    assert grey == 255


def test_a_table_sorts_by_pointer_and_keyboard(browser):
    """Numbers by value, what has no value last, the state said to a screen reader."""
    first = "document.querySelector('#table-sizes thead th:nth-of-type(3)')"
    rows = "document.querySelectorAll('#table-sizes tbody tr:not(.aside)')"
    cells = f"Array.from({rows}, row => row.cells[2].firstChild.textContent)"
    before = browser.evaluate(cells)
    browser.evaluate(f"{first}.querySelector('button').focus()")
    browser.press(*ENTER)
    assert browser.evaluate(f"{first}.getAttribute('aria-sort')") == "ascending"
    assert browser.evaluate(cells) == sorted(before, key=float) != before
    browser.evaluate(f"{first}.querySelector('button').click()")
    assert browser.evaluate(f"{first}.getAttribute('aria-sort')") == "descending"
    assert browser.evaluate(cells) == sorted(before, key=float, reverse=True)
    assert browser.evaluate("document.querySelectorAll('#table-sizes [aria-sort]').length") == 1
    aside = browser.evaluate("document.querySelector('#table-sizes tbody tr').className")
    assert aside == "aside"  # the row of parameters stays at the top


@pytest.mark.parametrize(
    ("language", "cells", "order"),
    [
        ("en", ["−0.5", "1,234.5 MiB", "12 %", "≈ 3.25×", "identical", "+0.1"], [0, 5, 3, 2, 1, 4]),
        ("ru", ["−0,5", "1 234,5 МиБ", "12 %", "≈ 3,25×", "совпадают", "+0,1"], [0, 5, 3, 2, 1, 4]),
        ("en", ["INT8", "FP32", "BF16", "INT16"], [2, 1, 0, 3]),
    ],
)
def test_values_are_ordered_in_the_form_of_the_page_s_language(started, tmp_path, language, cells, order):
    """Minus signs, units, thousands and decimal commas; a data-value comes before what the cell shows."""
    script = (TEMPLATES / "tables.js").read_text(encoding="utf-8")
    rows = "".join(f"<tr><th>{k}</th><td>{cell}<small>9 to 99</small></td></tr>" for k, cell in enumerate(cells))
    table = f"<table><thead><tr><th>row</th><th>value</th></tr></thead><tbody>{rows}</tbody></table>"
    file = tmp_path / "table.html"
    file.write_text(f'<!DOCTYPE html><html lang="{language}"><meta charset="utf-8"><div class="table">{table}</div>'
                    f"<script>{script}</script>", encoding="utf-8")  # fmt: skip
    started.open(file)
    rows = "Array.from(document.querySelectorAll('tbody tr'), row => Number(row.cells[0].textContent))"
    started.evaluate("document.querySelectorAll('button.sort')[1].click()")
    assert started.evaluate(rows) == order
    started.evaluate("document.querySelector('tbody tr:last-child td').dataset.value = '-9'")
    started.evaluate("document.querySelectorAll('button.sort')[0].click()")
    started.evaluate("document.querySelectorAll('button.sort')[1].click()")
    assert started.evaluate(rows)[0] == (order[-1])


def test_the_theme_follows_the_system_until_the_reader_chooses_and_is_remembered(browser, page):
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = browser.evaluate(paper)
    browser.open(page, dark=True)
    dark = browser.evaluate(paper)
    assert dark != light == "rgb(255, 255, 255)"
    assert browser.evaluate("document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    focus(browser, "#theme")
    browser.press(*ENTER)
    assert browser.evaluate(paper) == light
    browser.open(page, dark=True)
    assert browser.evaluate(paper) == light
    assert browser.evaluate("getComputedStyle(document.querySelector('table.images td img')).filter") == "none"


def test_charts_and_formulas_are_light_on_dark(browser, page):
    """Protects formulas within tables, too, from dark letters on a dark page."""
    browser.open(page, dark=True)
    kept = "images => images.filter(image => getComputedStyle(image).filter == 'none').length"
    assert browser.evaluate(f"({kept})([...document.querySelectorAll('img[src^=\"data:image/svg\"]')])") == 0


def test_sentences_in_a_table_have_room_on_a_phone(browser, page):
    """Protects from rows as high as the window, made by a column of one word a line out of sight to the right."""
    browser.open(page, width=390, height=844)
    cells = "[...document.querySelectorAll('.table table:not(.formats) td')]"  # where the hostile label takes all room
    found = browser.evaluate(f"{cells}.map(cell => [cell.offsetWidth, cell.textContent.trim()])")
    assert [cell for cell in found if len(cell[1]) > 80 and cell[0] < 120] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways_and_first_columns_stay(browser, page, width):
    browser.open(page, width=width, height=844)
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    moved = browser.evaluate("""Array.from(document.querySelectorAll('.table .scroll'), (box) => {
        const cell = box.querySelector('tbody th:not([colspan])');
        if (!cell || box.scrollWidth <= box.clientWidth) return 0;
        box.scrollLeft = 60;
        return Math.round(cell.getBoundingClientRect().left - box.getBoundingClientRect().left);
    })""")
    assert set(moved) == {0}


def test_every_image_of_the_page_is_generated(browser):
    """Protects charts from an address that no browser can read."""
    broken = browser.evaluate("Array.from(document.images).filter(i => i.src && !(i.complete && i.naturalWidth))"
                              ".map(i => i.alt.slice(0, 40))")  # fmt: skip
    assert broken == []


def test_labels_and_prompts_of_users_stay_text(browser):
    assert "hurt" not in browser.evaluate("document.title")
    assert HOSTILE in browser.evaluate("document.getElementById('viewer-a').textContent")


def test_everything_that_can_be_used_has_a_name_and_the_skip_link_comes_first(browser):
    nameless = browser.evaluate("""Array.from(document.querySelectorAll('button, select, input, [role=region]'))
        .filter((part) => !(part.textContent.trim() || part.getAttribute('aria-label') || part.labels?.length
            || part.getAttribute('aria-labelledby'))).map((part) => part.outerHTML.slice(0, 80))""")
    assert nameless == []
    first = browser.evaluate("document.querySelector('a, button, select, input').className")
    assert first == "skip"


def test_without_a_viewer_s_data_the_scripts_do_nothing_wrong(started, page, tmp_path):
    """A report without images has tables and themes, and no viewer."""
    html = page.read_text(encoding="utf-8")
    html = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL)
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    started.complaints.clear()
    started.open(file)
    assert started.evaluate("document.getElementById('viewer').hidden")
    assert started.complaints == []
