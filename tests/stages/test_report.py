"""The report: complete, truthful about what was not measured, safe, and the same bytes from the same results."""

import io
import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from jinja2 import UndefinedError
from pypdf import PdfReader

from stages import report
from stages.lib.project.errors import UserError
from stages.lib.project.files import git
from stages.lib.project.params import load_params
from stages.lib.quality.appearance import MEASURES
from stages.lib.reporting import origin as origins
from stages.lib.reporting import pdf
from stages.lib.reporting.document import TEMPLATES, for_screen, without
from stages.lib.reporting.images.figures import even_rows
from stages.lib.reporting.origin import find_origin
from stages.lib.reporting.pdf import FONT_FILES, for_print, pdf_of
from tests.conftest import PROJECT
from tests.pages import ORIGIN, RUN, rendered
from tests.quality_results import quality_figures
from tests.results_folder import write_project

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "bf16": {"label": "BF16", "backend": "torch", "weights": "bfloat16"},
    "int8-simulated": {"label": "INT8 Simulated", "backend": "torch", "weights": "int8", "simulated": True},
    "w8a8-simulated": {
        "label": "W8A8 Simulated",
        "backend": "torch",
        "weights": "int8",
        "activations": "int8",
        "simulated": True,
    },
    "int4-simulated": {
        "label": "INT4 Simulated",
        "backend": "torch",
        "weights": "int4",
        "granularity": "group",
        "group_size": 32,
        "simulated": True,
    },
}
ARGUMENTS = ["--reports", "reports", "--images", str(RUN / "images"), "--base", str(RUN / "models/base")]


class Text(HTMLParser):
    """The visible text of a page, and the text of each table."""

    def __init__(self, html: str):
        super().__init__()
        self.words: list[str] = []
        self.tables: list[str] = []
        self.sources: list[str] = []
        self.hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.hidden = tag in ("style", "script")
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag == "table":
            self.tables.append("")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)
            if self.tables:
                self.tables[-1] += f" {data}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "project"
    write_project(folder, VARIANTS)
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that a test may change, and the working folder."""
    folder = shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def html(project: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return rendered()


def change(path: Path, edit: Callable[[dict], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage as `dvc repro` runs it, in the working folder."""
    names = ["report", "report.ru"][: len(load_params().report.languages)]
    outputs = ["--html", *(f"reports/{name}.html" for name in names)]
    outputs += ["--pdf", *(f"reports/{name}.pdf" for name in names)]
    for kind in ("brief", "audit"):
        outputs += [f"--{kind}", *(f"reports/{name.replace('report', kind)}.pdf" for name in names)]
    outputs += ["--table", "reports/summary.md", "--csv", "reports/summary.csv", "--card", "reports/model-index.yml"]
    monkeypatch.setattr("sys.argv", ["report", *ARGUMENTS, *outputs])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    report.main()


def table(html: str, key: str) -> str:
    """The text of one table by its key."""
    part = html.split(f'id="table-{key}"')[1].split("</table>")[0]
    return " ".join(" ".join(Text("<table>" + part.partition("<table")[2].partition(">")[2]).words).split())


@pytest.mark.parametrize(
    "key",
    [
        "formats",
        "sizes",
        "overhead",
        "performance",
        "quality",
        "kinds",
        "appearance",
        "tradeoff",
        "costs",
        "safety",
        "coverage",
        "samples",
        "all-prompts",
    ],
)
def test_every_declared_variant_stands_in_each_table(html, key):
    for variant in VARIANTS.values():
        assert variant["label"] in table(html, key)


def test_each_simulated_format_says_what_is_rounded_and_how(html):
    """Protects a reader from taking rounded activations, or groups, for plain INT8 weights."""
    rows = table(html, "formats")
    int8, w8a8, int4 = (rows.partition(f"{name} Simulated")[2] for name in ("INT8", "W8A8", "INT4"))
    assert int8.startswith(" 8 4.00× CPU simulated: rounded to INT8, FP16 stored, FP32 computed, one scale per output")
    assert w8a8.startswith(
        " 8 4.00× CPU simulated: rounded to INT8, FP16 stored, FP32 computed, inputs of convolutions"
    )
    assert "rounded to INT8 (asymmetric, one range per tensor from calibration)" in w8a8.partition("INT4 Sim")[0]
    assert int4.startswith(" 4.5 7.11× CPU simulated: rounded to INT4, FP16 stored, FP32 computed, one scale per 32")
    assert "asymmetric" not in int4


def test_distances_stand_beside_the_floor_with_interval_and_n(html):
    """Protects a reader from a figure without its spread, and from a distance without the rerun's."""
    rows = table(html, "distances")
    assert "below a rerun, dB" in rows and " to " in rows
    for variant in list(VARIANTS.values())[1:]:
        assert variant["label"] in rows and variant["label"] in table(html, "comparisons")
    floor = table(html, "floor")
    assert "another number of threads 1 1 5 0 88.0 87.0 to 89.0" in floor and "other seeds" in floor
    assert "ST-LPIPS" in rows


def test_a_model_without_a_clip_has_reasons_instead_of_figures(copy, html):
    """Protects Stable Diffusion and local models: no crash, no empty cell, the reason."""
    assert "Right, %" in table(html, "alignment") and "10,000 images are asked for" in html
    for name in VARIANTS:
        path = Path("reports/embedded/quality") / f"{name}.json"
        change(path, lambda value: value.update(quality_figures(value["per_image"], clip=False)))
    words = " ".join(" ".join(Text(rendered()).words).split())
    assert words.count("not measured: the model brings no CLIP of its own") >= 3
    assert "Right, %" not in words


def test_the_russian_page_is_russian(copy):
    """Protects readers from sentences in two languages, and from numbers in the form of another one."""
    page = rendered(language="ru")
    assert '<html lang="ru">' in page and "14 ноября 2023" in page
    quoted = (
        r'<ol class="references">.*?</ol>|<span class="(?:code|number|quiet)">.*?</span>|<th[^>]* class="text">.*?</th>'
    )
    text = " ".join(Text(re.sub(quoted, "", page, flags=re.DOTALL)).words)
    assert re.findall(r"\b(?:the|of|and|is|are|not|with|for|measured|images?|table|chart)\b", text, re.IGNORECASE) == []
    text = re.sub(r"(?:Python|PyTorch|diffusers|Linux|CUDA|v|[a-z]) ?\s*\d[\d.]*", "", text)
    assert re.findall(r".{20}\b\d+\.\d+\b(?!\.)", text.partition("Список литературы")[0]) == []


def test_what_is_left_of_a_removed_variant_is_not_shown(copy, html):
    assert "BF16" in table(html, "sizes")
    change(copy / "params.yaml", lambda params: params["variants"].pop("bf16"))
    page = rendered()
    assert (copy / "reports/embedded/size/bf16.json").is_file()
    assert not [key for key in ("formats", "sizes", "performance", "quality", "kinds") if "BF16" in table(page, key)]
    assert "INT8 Simulated" in table(page, "sizes")


def test_a_variant_that_cannot_run_here_is_a_row_with_the_reason(copy):
    """Nothing is claimed of it: a reason and a remedy in every table of formats, and no figure, chart or sentence."""

    def leave_out(summary: dict) -> None:
        summary["variants"] = [row for row in summary["variants"] if row["variant"] != "bf16"]
        for key in ("pairs", "comparisons"):
            summary[key] = [pair for pair in summary[key] if "bf16" not in (pair["reference"], pair["variant"])]
        summary["unavailable"] = [
            {"variant": "bf16", "label": "BF16", "obstacle": {"reason": "not_installed", "packages": ["x"]}}
        ]

    change(copy / "reports/embedded/summary.json", leave_out)
    for path in (
        "reports/embedded/size/bf16.json",
        "reports/embedded/timing/bf16.json",
        "reports/embedded/quality/bf16.json",
    ):
        (copy / path).unlink()
    shutil.rmtree(copy / "data/runs/embedded/images/bf16")
    page = rendered()
    for key in ("formats", "sizes", "overhead", "performance", "quality", "tradeoff", "costs"):
        assert "BF16 x: not installed: pip install x" in table(page, key), key
    assert "BF16" not in table(page, "kinds") + table(page, "all-prompts") + table(page, "samples")
    assert page.count("x: not installed: pip install x") == 9
    assert "BF16" not in " ".join(re.findall(r'alt="([^"]*)"', page))
    change(
        copy / "reports/embedded/summary.json",
        lambda summary: summary["unavailable"][0].update(obstacle={"reason": "not_in_set"}),
    )
    page = rendered()  # what nobody asked for is named once
    assert "BF16" not in table(page, "sizes") and page.count("make report SET=all</span>): BF16.") == 1


def test_one_variant_alone_makes_a_report(copy):
    def keep_one(params: dict) -> None:
        params["variants"] = {"fp32": params["variants"]["fp32"]}

    change(copy / "params.yaml", keep_one)
    assert "nothing to compare it with" in rendered()


def test_a_user_s_text_is_escaped(copy):
    def hostile(params: dict) -> None:
        params["models"]["embedded"]["label"] = "<script>alert(1)</script>"
        params["variants"]["bf16"]["label"] = "<b>BF16</b> & co"

    change(copy / "params.yaml", hostile)
    page = rendered()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "<b>BF16" not in page


def test_tables_of_prompts_come_from_the_user_s_own_file(copy):
    (copy / "data/prompts.csv").rename(copy / "data/own.csv")
    change(copy / "params.yaml", lambda params: params["prompts"].update(file="data/own.csv"))
    page = rendered()
    assert "data/prompts.csv" not in page
    assert page.count('data-source="data/own.csv params.yaml"') == 1


def test_prompts_of_a_user_stand_where_those_of_the_study_would(copy):
    """Protects who measures with their own prompts from a table that holds none."""
    path = copy / "data/prompts.csv"
    path.write_text(path.read_text("utf-8").replace(",study", ",mine").replace(",extended", ",mine"), encoding="utf-8")
    change(copy / "params.yaml", lambda params: params["prompts"].update(sets=["mine"]))
    page = rendered()
    assert "A cute cat sitting on a windowsill" in table(page, "prompts") and "study" not in table(page, "prompts")
    assert "beyond the study" not in page


def test_the_viewer_opens_on_what_is_recommended(html):
    opens = re.search(r'"opens": "([\w-]+)"', html)[1]
    said = html.partition('class="answer box"')[2].partition("<dd>")[2]
    assert said.startswith((VARIANTS[opens]["label"] + ", for:", f"Stay with {VARIANTS[opens]['label']}"))


def test_what_was_not_measured_says_why(html):
    assert "INT8 Simulated not measured: simulated" in table(html, "performance")
    assert "2048-dimensional covariance is rank deficient" in table(html, "quality")


def test_a_simulated_format_never_shows_a_speed(html):
    row = table(html, "performance").partition("INT8 Simulated")[2]
    assert not re.search(r"\d\.\d", row)


def test_on_paper_tables_of_speed_have_no_row_of_simulated_formats(html):
    """Protects 25 pages from rows that say what one line says; on the page for the screen they give the reason."""
    paper = for_print(html)
    for name in ("performance", "costs", "coverage"):
        assert "INT8 Simulated" in table(html, name) and "INT8 Simulated" not in table(paper, name)
    assert "Simulated formats have no speed" in paper and "Simulated formats have no speed" not in for_screen(html)


def test_what_a_format_does_to_images_stands_in_its_own_column_in_words_and_figures(copy):
    """Protects Table 9: JSON has the measures in another order than the columns; the strongest word comes first."""

    def damage(appearance: dict) -> None:
        for number, key in enumerate(MEASURES):
            appearance["measures"][key] |= {"shift": number + 0.5, "low": number, "high": number + 1, "grade": "none"}
        appearance["measures"]["noise"] |= {"grade": "slight", "images_affected": 3}
        appearance["measures"]["blue_yellow"] |= {"shift": -7.5, "grade": "strong", "images_affected": 4}

    change(copy / "reports/embedded/appearance/bf16.json", damage)
    row = table(rendered(), "appearance").partition("BF16")[2].partition("INT8")[0]
    cells = " ".join(re.sub(r" of [\d.]+", "", row).split())  # what would have been graded, where nothing was
    assert cells.startswith("strongly bluer, slightly grainy +0.500 ± 0.500 +1.50 ± 0.50 +2.50 ± 0.50 +3.50 ± 0.50 ")
    assert cells.endswith("+4.50 ± 0.50 in 3 +5.50 ± 0.50 +6.5 ± 0.5 +7.5 ± 0.5 −7.5 ± 0.5 in 4")
    assert " +0.500 ± 0.500 of 0.020 +1.50 ± 0.50 of 0.75 " in row and "no measure moved" not in row


def test_a_margin_that_was_not_measured_and_a_flip_are_shown(copy):
    """Protects the safety table from an invented margin, and from hiding a decision that changed."""

    def hide(appearance: dict) -> None:
        appearance["safety"]["without_blocked"] |= {
            "flips": 2, "margin_shift_mean": None, "margin_shift_largest": None, "nearest_margin": None,
            "margin_reason": "no_embedding",
        }  # fmt: skip

    change(copy / "reports/embedded/appearance/bf16.json", hide)
    row = table(rendered(), "safety").partition("BF16")[2].partition("INT8")[0]
    assert "no such prompt 0 2 not measured: this back end's safety checker shows no image embedding none" in row


def test_a_model_without_a_safety_checker_is_not_said_to_have_one(copy):
    """Protects from a zero where nobody looked."""
    (copy / "data/runs/embedded/models/base/safety_checker").rmdir()
    page = rendered()
    assert "Embedded scene model has no safety checker" in page and "is asked about every finished image" not in page
    assert table(page, "safety").startswith("Format Blank FP32 none"), "nothing about flags"
    assert "PSNR without bound – reference" in table(page, "quality")


def test_each_control_is_shown_as_caught(html):
    rows = table(html, "controls")
    assert rows.count(" yes") == 5 and " no " not in rows.replace("no good word", "").replace("no image", "")
    assert "not seen" in table(html, "detection")


def test_a_control_that_was_not_generated_says_why(copy):
    """Protects the report of prompts that share one seed, or of a single prompt."""
    skipped = {"caught": None, "expected": "different", "name": "seeds", "reason": "one_seed"}

    def skip(controls: dict) -> None:
        controls["controls"] = [skipped if item["name"] == "seeds" else item for item in controls["controls"]]

    change(copy / "reports/embedded/controls.json", skip)
    assert "prompts have the same seed, and nothing to shuffle" in table(rendered(), "controls")


def test_a_simulated_format_multiplies_in_no_int8(html):
    row = table(html, "coverage").partition("INT8 Simulated")[2]
    assert "simulated: FP32 arithmetic on rounded weights" in row


def test_an_operator_that_no_format_executes_has_no_column(html):
    heads = table(html, "why").partition("Share of time")[0]
    assert heads.split() == ["Format", "Convolutions", "Linear", "layers", "Attention"]


def test_int8_leads_to_what_it_covers(html):
    """In every table that compares formats, the name of an INT8 format is a link, that of another one is not."""
    for key in ("formats", "sizes", "overhead", "performance", "quality"):
        part = html.split(f'id="table-{key}"')[1].split("</table>")[0]
        assert '<a class="ref" href="#results-coverage">INT8 Simulated</a>' in part
        assert '#results-coverage">BF16' not in part


def test_a_format_that_leaves_convolutions_in_fp32_is_told(copy):
    """60 % of the work are convolutions here, 30 % linear layers: the table and a sentence say so."""

    def dynamic(params: dict) -> None:
        params["variants"]["bf16"] |= {"backend": "torch_dynamic", "weights": "int8", "device": "cpu"}
        params["variants"]["bf16"] |= {"activations": "int8", "compute": "float32"}

    change(copy / "params.yaml", dynamic)
    change(
        copy / "reports/embedded/size/bf16.json",
        lambda size: size["operators"].append(
            {"component": "unet", "operator": "Linear", "dtype": "int8", "parameters": 1_000_000}
        ),
    )

    def integers(timing: dict) -> None:
        for row in timing["executed"]:
            row["dtype"] = "int8" if row["operator"] == "Linear" else "float32"

    change(copy / "reports/embedded/timing/bf16.json", integers)
    text = " ".join(" ".join(Text(rendered()).words).split())
    assert "BF16 executes 30 % of its multiply-accumulates in INT8; it leaves convolutions (60 %) in FP32 and" in text
    assert "BF16 generates at" in text and "linear layers (30 % of the work) in INT8" in text


def test_the_text_has_no_raw_or_impossible_numbers(html):
    """No float noise, no Python words in the text or in the descriptions of images."""
    page = html.partition('class="references"')[0]  # identifiers of papers look like long decimals
    text = " ".join(Text(page).words) + " ".join(re.findall(r'alt="([^"]*)"', page))
    text = re.sub(r"doi:10.1109/TIP.2003.819861|arXiv:\d+\.\d+", "", text)
    assert re.findall(r"\d\.\d{5,}", text) == []
    assert re.findall(r"\b(?:nan|None|inf|Infinity|Undefined|True|False(?! alarms))\b", text) == []
    assert re.findall(r"\bnan\b|\binf\b", text, re.IGNORECASE) == []


def table_numbers(html: str) -> list[int]:
    """The numbers of all tables that have no letter, in the order of the page."""
    return [int(n) for n in re.findall(r"<b>Table (\d+)\.</b>", html)]


def test_tables_of_the_study_keep_its_numbers_and_its_order(html):
    """Protects a reader who holds the study beside this report: other tables come after 15."""
    assert [n for n in table_numbers(html) if n <= 15] == list(range(1, 16))
    captions = {"machine": 1, "sizes": 4, "appearance": 9, "components": 11, "future": 14, "prospects": 15}
    for key, number in captions.items():
        assert f'id="caption-{key}"><b>Table {number}.</b>' in html
    assert len([n for n in table_numbers(html) if n > 15]) == 17


def test_every_reference_leads_somewhere_once(html):
    for page in (for_screen(html), for_print(html)):
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_a_quick_look_needs_nothing_that_takes_long_and_leads_nowhere_else(copy):
    """Protects the first look: what was not measured is left out, and no sentence points there."""
    for name in ("controls.json", "floor.json"):
        (copy / "reports/embedded" / name).unlink()
    shutil.rmtree(copy / "reports/embedded/sensitivity")
    for language in ("en", "ru"):
        html = rendered(language=language, quick=True)
        assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'\bid="([^"]+)"', html))
        assert '<p class="quick">' in html.partition('id="figure-grid"')[0]
        assert 'id="table-quality"' in html and 'id="table-performance"' in html
        assert not re.search("results-(floor|controls|sensitivity)|analysis-components|table-distances", html)


def test_the_page_is_self_contained_and_small(html):
    """Nothing is fetched: every source is data in the page or a place in it, and no script asks for anything."""
    assert [source[:40] for source in Text(html).sources if not source.startswith(("data:", "#"))] == []
    assert not re.search(r"url\(|@import|<script[^>]* src|\bfetch\(|XMLHttpRequest|\bimport\b *[({'\"]", html)
    assert len(for_screen(html).encode()) <= 4 * 1024**2


def test_paper_and_screen_have_their_own_images(html):
    """Protects the page from carrying the images of the PDF, and the PDF from scripts and lossy details."""
    screen, paper = for_screen(html), for_print(html)
    assert "image/webp" in screen and "image/jpeg" not in screen and "image/png" not in screen
    assert "image/jpeg" in paper and "image/webp" not in paper and "<script" not in paper


def test_what_is_left_out_may_hold_the_same():
    part = "<!-- x only -->{}<!-- end of x only -->"
    assert without(f"a{part.format('b' + part.format('c') + 'd')}e{part.format('f')}g", "x only") == "aeg"


def test_on_the_screen_the_answer_comes_first_and_on_paper_a_cover(html):
    screen, paper = for_screen(html), for_print(html)
    for page in (screen, paper):
        assert page.count('id="figure-grid"') == 1
    assert screen.index('class="answer box"') < screen.index('class="viewer') < screen.index('id="figure-grid"')
    assert paper.index('id="figure-grid"') < paper.index('class="answer box"')


def test_many_variants_stand_in_rows_of_equal_length():
    assert even_rows("abcdefgh", 6) == [list("abcd"), list("efgh")]
    assert even_rows("abcde", 4) == [["a", "b", "c"], ["d", "e", None]]
    assert even_rows("abc", 6) == [list("abc")]


def test_every_image_has_words(html):
    images = re.findall(r"<img [^>]*>", html)
    assert images
    assert all(re.search(r'alt="[^"]{3,}"', image) for image in images)


def test_all_images_identical_is_said_in_words(copy):
    def same(quality: dict) -> None:
        quality.update(identical=quality["images"], psnr_db=None, psnr_db_std=None, ssim=1.0, ssim_std=0.0)
        for image in quality["per_image"]:
            image.update(psnr_db=None, identical=True, ssim=1.0, rating="identical")

    change(copy / "reports/embedded/quality/bf16.json", same)
    page = rendered()
    assert "BF16 generates exactly the images of FP32, all 5 of them." in page
    assert "all identical" in table(page, "quality")


@pytest.fixture(scope="module")
def printed(project: Path) -> Callable[[str], tuple[bytes, list]]:
    """The PDF in a language, of results with long names of the worst images, and its text beyond the edge of a page."""

    @cache
    def made(language: str) -> tuple[bytes, list]:
        beyond, merge_spans = [], pdf._merge_spans

        def look(document, made_pdf):
            for number, page in enumerate(document.pages, 1):
                content = page._page_box
                edge = content.content_box_x() + content.width
                texts = [box for box in content.descendants() if hasattr(box, "text")]
                beyond.extend((number, box.text) for box in texts if box.position_x + box.width > edge + 1)
            merge_spans(document, made_pdf)

        with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
            patch.chdir(shutil.copytree(project, folder, dirs_exist_ok=True))
            for path in Path("reports/embedded/quality").glob("*.json"):
                change(path, name_the_worst)
            patch.setattr(pdf, "_merge_spans", look)
            return pdf_of(rendered(language), ORIGIN.epoch), beyond

    return made


def name_the_worst(quality: dict) -> None:
    for tail in quality["tails"].values():
        tail.update(worst_id="astronaut-underwater")


def test_the_pdf_has_contents_fonts_tags_and_text(printed):
    """Pages, an outline, a title, structure tags, embedded fonts that come with matplotlib and no others."""
    reader = PdfReader(io.BytesIO(printed("en")[0]))
    assert len(reader.pages) >= 8
    titles = [item.title for item in reader.outline if not isinstance(item, list)]
    assert {"1 In short", "3 Method", "4 Results"} <= {" ".join(title.split()) for title in titles}
    assert reader.metadata.title.startswith("How quantization changes a diffusion model")
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.trailer["/Root"]["/Lang"] == "en"
    fonts = [font for page in reader.pages for font in fonts_of(page)]
    assert fonts and all(embedded for _, embedded in fonts)
    families = {family.replace(" ", "-") for family, *_ in FONT_FILES}
    assert {name.split("+")[1].partition("-Bold")[0].partition("-Italic")[0] for name, _ in fonts} <= families
    method = next(item for item in reader.outline if not isinstance(item, list) and "Method" in item.title)
    page = reader.get_destination_page_number(method) + 1
    contents = re.sub(r"\s+", " ", " ".join(page.extract_text() for page in reader.pages[1:3]))
    assert re.search(rf"Method[ .]+{page}\b", contents), contents


def beside(html: str, key: str) -> str:
    """The text of what the study printed under one table."""
    return " ".join(" ".join(Text(html.split(f'id="beside-{key}"')[1].split("</table>")[0]).words).split())


def test_table_11_has_the_study_s_words_beside_the_measured_ones(html):
    """Protects the words from being the study's own."""
    rows = table(html, "components")
    unet = rows.partition("U-Net")[2].partition("VAE")[0]
    assert re.search(r"negligible.*55.0 dB.*significant.*26.0 dB.*high", unet) and "minimal" not in unet
    assert "0 decisions changed" in rows.partition("Safety checker")[2]
    printed = beside(html, "components").partition("U-Net")[2].partition("VAE")[0].strip()
    assert printed == "minimal; significant; high negligible; significant; high differs : 2 of 3 words are the same"


@pytest.mark.parametrize(
    "key",
    [
        "machine",
        "formats",
        "prompts",
        "sizes",
        "overhead",
        "performance",
        "quality",
        "kinds",
        "appearance",
        "tradeoff",
        "components",
        "recommendations",
        "costs",
    ],
)
def test_what_the_study_printed_follows_each_of_its_tables(html, key):
    after = html.split(f'id="table-{key}"')[1].partition("</table>")[2]
    closed = re.sub(r'^(?:\s|</div>|<p class="source">.*?</p>)*', "", after)
    assert closed.startswith('<!-- page only --><div class="beside"')
    assert "Printed Here Verdict" in beside(html, key)


def test_future_directions_lead_to_the_chapters_that_measure_them(html):
    part = html.split('id="table-future"')[1].split("</table>")[0]
    rows = re.findall(r"<tr>.*?</tr>", part, re.DOTALL)[1:]
    assert len(rows) == 6
    assert "not measured" in rows[0] and "All formats (5) are made from finished weights" in rows[0]
    assert 'href="#results-sensitivity"' in rows[5] and "W8A8 Simulated" in rows[5] and ">measured<" in rows[5]
    assert "TensorRT" in rows[4] and ">in part<" in rows[4]


def test_a_mixed_format_says_what_is_mixed(copy):
    """Protects a reader from taking it for INT4 throughout."""

    def mix(params: dict) -> None:
        params["variants"]["int4-simulated"] |= {"granularity": "channel", "components": ["unet"], "mean_bits": 5.5}
        del params["variants"]["int4-simulated"]["group_size"]

    change(copy / "params.yaml", mix)
    row = table(rendered(), "formats").partition("INT4 Simulated")[2]
    assert "5.5 5.82×" in row and "in INT8 or not rounded, in the mean at most 5.5 bits a weight" in row


def test_shares_and_budgets_stand_in_tables(html):
    probe_points = table(html, "probe_points")
    assert (
        "cosine 0.9998" in probe_points
        and "32.3 to 34.3" in probe_points
        and "margin 0.0123, 0 decisions changed" in probe_points
    )
    budgets = table(html, "budgets")
    assert "all 6 bits" in budgets and "1 of 4 bits, 1 of 8, 0 of 16" in budgets


def test_a_compressed_graph_is_told_with_both_sizes(copy, html):
    """Protects a reader from 0.07 MiB of a graph that a runtime loads as 1.39."""
    change(copy / "reports/embedded/size/bf16.json", lambda size: size.update(disk_mib=20.07, runtime_mib=21.39))
    found = table(rendered(), "overhead")
    assert "20.07" in found and "21.39 unpacked" in found
    assert found.count("unpacked") == table(html, "overhead").count("unpacked") + 1


def test_a_fid_of_few_images_is_called_meaningless_and_not_missing(html):
    """It exists, also of singular covariances; at this n it says nothing."""
    said = " ".join(" ".join(Text(html).words).split())
    assert "FID is not given: it can be computed from n = 5 images, but below n = 10,000 it says nothing" in said
    assert "No FID" not in said


def test_no_damage_is_said_in_words(copy):
    """A format that changes nothing has no shares."""

    def harmless(report: dict) -> None:
        for tap in report["formats"][-1]["probe_points"].values():
            tap.update(total=0, damaged=0, leader=None)
            for row in tap["components"]:
                row.update(share=None, alone_share=None, main_effect_share=None, low=None, high=None)

    change(copy / "reports/embedded/sensitivity/components.json", harmless)
    assert table(rendered(), "probe_points").count("no damage") == 10


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_text_of_the_pdf_is_beyond_the_edge_of_its_page(printed, language):
    """Protects wide tables from being cut off on paper: means, intervals and the names of the worst images."""
    assert printed(language)[1] == []


def fonts_of(page) -> list[tuple[str, bool]]:
    found = []
    for font in page["/Resources"].get("/Font", {}).values():
        descendant = font.get_object()["/DescendantFonts"][0].get_object()
        descriptor = descendant["/FontDescriptor"].get_object()
        found.append((descendant["/BaseFont"], any(f"/FontFile{n}" in descriptor for n in ("", "2", "3"))))
    return found


def test_a_mistake_in_a_template_is_not_swallowed(copy, tmp_path):
    """An undefined name stops the stage before anything is written."""
    templates = shutil.copytree(TEMPLATES, tmp_path / "templates")
    with (templates / "partials/limits.html.j2").open("a", encoding="utf-8") as file:
        file.write("{{ results.speed_of_light }}")
    with pytest.raises(UndefinedError, match="speed_of_light"):
        rendered(templates=templates)


def test_neither_file_is_written_when_the_pdf_fails(copy, monkeypatch):
    def fail(html: str, epoch: int) -> bytes:
        raise UserError("no PDF")

    change(copy / "params.yaml", lambda params: params["report"].update(languages=["en"]))
    monkeypatch.setattr(report, "pdf_of", fail)
    with pytest.raises(UserError):
        run(monkeypatch)
    assert not list((copy / "reports").glob("*report*"))


def test_all_files_are_written_or_none(tmp_path):
    """Protects a reader from two languages of different runs."""
    old, new = tmp_path / "report.html", tmp_path / "report.ru.html"
    old.write_bytes(b"old")
    (tmp_path / "report.pdf").mkdir()
    with pytest.raises(OSError):
        report.write_all({old: b"changed", new: b"new", tmp_path / "report.pdf": b"pdf"})
    assert old.read_bytes() == b"old" and not new.exists()


def test_a_language_without_a_file_is_named(copy, monkeypatch):
    arguments = [
        "--html",
        "report.html",
        "report.ru.html",
        "--pdf",
        "report.pdf",
        "--brief",
        "brief.pdf",
        "--audit",
        "a.pdf",
    ]
    arguments += ["--table", "summary.md", "--csv", "summary.csv", "--card", "model-index.yml"]
    monkeypatch.setattr("sys.argv", ["report", *ARGUMENTS, *arguments])
    with pytest.raises(UserError, match="has 2 languages, --pdf 1 files"):
        report.main()


def test_a_missing_result_is_named(copy):
    (copy / "reports/embedded/quality/bf16.json").unlink()
    with pytest.raises(UserError, match=r"reports/embedded/quality/bf16\.json is missing"):
        rendered()


def test_a_missing_system_library_names_the_packages(monkeypatch):
    import builtins

    real = builtins.__import__

    def without_pango(name: str, *args, **kwargs):
        if name.startswith("weasyprint"):
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pango)
    with pytest.raises(UserError, match="libpango-1.0-0 .*(?s:.)*dnf install pango(?s:.)*brew install pango"):
        pdf_of("<p>x</p>", 0)


def test_the_commit_is_the_last_one_that_changed_more_than_results(monkeypatch):
    """Committing the report itself does not change what the report says."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    origin = find_origin()
    if origin.commit is None:
        pytest.skip("not a Git checkout")
    changed = git("show", "--name-only", "--format=", origin.commit).splitlines()
    assert any(name.startswith(origins.MEASURED_WITH) for name in changed)


def test_outside_git_the_report_says_so(copy, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(copy.parent))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    origin = find_origin()
    assert (origin.commit, origin.dated) == (None, False)


def test_a_wrong_source_date_is_named(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UserError, match="SOURCE_DATE_EPOCH has the value 'yesterday'"):
        find_origin()


def test_without_images_the_report_says_why_and_leaves_quality_out(copy):
    """Protects random weights from a quality, an empty figure or a gap in the numbers."""
    for name in VARIANTS:
        unmeasured = {"variant": name, "label": name, "baseline": "fp32", "measured": False, "reason": "random_weights"}
        (copy / f"reports/embedded/quality/{name}.json").write_text(
            json.dumps(unmeasured | {"per_image": []}), encoding="utf-8"
        )
        change(copy / f"data/runs/embedded/images/{name}/images.json", lambda listing: listing.update(images=[]))
    for name in ("summary", "pairs"):
        change(copy / f"reports/embedded/{name}.json", lambda content: content.update(pairs=[]))
    page = rendered()
    why = "images generated from random weights mean nothing"
    assert f"not measured: {why}" in page and f"The quality was not measured ({why})." in page
    text = " ".join(Text(page).words)
    assert 'id="viewer"' not in page and "viewer-data" not in page.partition("</main>")[0]
    assert "PSNR against" not in text and "Visual comparison" not in text and 'id="figure-grid"' not in page
    assert "BF16" in table(page, "performance") and "BF16" in table(page, "sizes")
    test_tables_and_figures_are_numbered_without_gaps(page)
    assert [n for n in table_numbers(page) if n <= 15] == [1, 2, 4, 5, 6, 13, 14, 15]
    assert 'id="beside-performance"' in page and 'id="beside-quality"' not in page
    test_every_reference_leads_somewhere_once(page)


def test_tables_and_figures_are_numbered_without_gaps(html):
    """But for the study's tables: the number of one that is left out stays free."""
    html = for_screen(html)
    for word in ("Figure", "Chart"):
        numbers = [int(n) for n in re.findall(rf"<b>{word} (\d+)\.</b>", html)]
        assert numbers and numbers == list(range(1, len(numbers) + 1)), word
    others = [n for n in table_numbers(html) if n > 15]
    assert others and others == list(range(16, 16 + len(others)))


def test_an_extrapolated_time_is_marked_wherever_it_stands(copy):
    """Protects a reader from taking an estimate for a measurement."""
    edit = {"extrapolated": True, "denoiser_steps": 21, "denoiser_steps_made": 3}
    for name in ("fp32", "bf16"):
        change(copy / f"reports/embedded/timing/{name}.json", lambda timing: timing.update(edit))
    page = rendered()
    assert "from 3 of 21 denoising steps" in table(page, "performance")
    assert "3 of 21 calls of the denoiser were made" in page
    assert ", extrapolated from a few steps" in page
    assert len(re.findall(r"<td>≈ ", page)) == 8


def test_the_exact_sizes_of_published_models_stand_in_an_appendix(html):
    """Protects the study's Tables 4 and 5 as they must be: sizes, ratio, overhead, efficiency, from the counts."""
    sizes, overhead = table(html, "architecture-sizes"), table(html, "architecture-overhead")
    assert "Invented architecture U-Net 10.49 40.00 20.00 10.50 100.0" in sizes and "3.81×" in sizes
    assert "INT8 10.00 10.50 +5.0" in overhead and "95.2" in overhead
