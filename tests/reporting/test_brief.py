"""The brief: two pages whatever was measured, short sentences, no claim beyond its interval, code that runs."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from pypdf import PdfReader
from ruamel.yaml import YAML

from stages import report
from stages.lib.project.params import load_params
from stages.lib.project.sections import Scenario
from stages.lib.reporting import brief, exports
from stages.lib.reporting.images.figures import page_images
from stages.lib.reporting.pdf import pdf_of
from stages.lib.reporting.words import brief_words
from stages.lib.results import figures_table
from stages.lib.results.scenarios import decide, supported
from tests.candidates import candidate
from tests.pages import subject
from tests.quality_results import set_ssim
from tests.results_folder import write_project
from tests.timings import set_speedup
from tests.tiny_project import write_models, write_settings

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "bf16": {"label": "BF16", "backend": "torch", "weights": "bfloat16"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
    "int8-simulated": {"label": "INT8 Simulated", "backend": "torch", "weights": "int8", "simulated": True},
}
MOST_WORDS = 30
# What is made up: speed-ups and the factor of their spread, mean SSIM and half its interval, by format; then what the
# brief recommends, and what its alternative is.
CASES = {
    "supported": ({"fp16": (2.0, 1.05), "bf16": (1.5, 1.05)}, {"fp16": (0.98, 0.01), "bf16": (0.97, 0.01)}, "FP16", ""),
    "alternative": (
        {"fp16": (2.0, 1.05), "bf16": (1.5, 1.05)},
        {"fp16": (0.96, 0.03), "bf16": (0.98, 0.01)},
        "BF16",
        "FP16",
    ),
    "tie": ({"fp16": (1.6, 1.2), "bf16": (1.5, 1.2)}, {"fp16": (0.98, 0.01), "bf16": (0.98, 0.01)}, "FP16", "BF16"),
    "none wins": ({"fp16": (1.1, 1.3), "bf16": (0.9, 1.1)}, {"fp16": (0.98, 0.01), "bf16": (0.9, 0.01)}, "", "FP16"),
    "noisy": ({"fp16": (2.0, 1.05), "fp32": (1.2, 1.01)}, {"fp16": (0.98, 0.01), "bf16": (0.9, 0.01)}, "", "FP16"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brief") / "project"
    write_project(folder, VARIANTS)
    return folder


def make_up(speeds: dict, ssims: dict) -> None:
    for name, (value, factor) in speeds.items():
        set_speedup(Path(f"reports/embedded/timing/{name}.json"), value, factor)
    for name, (mean, half) in ssims.items():
        set_ssim(Path(f"reports/embedded/quality/{name}.json"), mean, half)


def brief_of(language: str = "en", quick: bool = False) -> str:
    about = subject(quick)
    return report.pages(about, page_images(about.results, about.prompts, about.images), language)[1]


class Blocks(HTMLParser):
    """The text of every paragraph, answer, list item and caption."""

    def __init__(self, html: str):
        super().__init__()
        self.texts, self.open = [], False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag in ("p", "dd", "li", "figcaption", "h1", "h2", "small"):
            self.open, self.texts = True, [*self.texts, ""]

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag not in ("p", "dd", "li", "figcaption", "h1", "h2", "small")

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[-1] += data


def answers(html: str) -> list[str]:
    found = re.findall(r"<dd>(.*?)</dd>", html, re.DOTALL)
    return [" ".join(text.replace("\u00a0", " ").split()) for text in found]


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_recommended_is_supported_and_what_is_not_known_is_said(project, case, language):
    """Protects a reader from a recommendation that another run turns round; and every sentence is short."""
    speeds, ssims, recommended, alternative = CASES[case]
    make_up(speeds, ssims)
    html = brief_of(language)
    for text in Blocks(html).texts:
        for sentence in re.split(r"(?<=[.!?:;])\s+(?=[«“A-ZА-ЯЁ])", " ".join(text.split())):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            assert len(words) <= MOST_WORDS, sentence
    if language == "ru":
        return
    first, second, resolution = answers(html)
    assert first.startswith(f"{recommended}, for: Deployment on a CPU alone" if recommended else "Stay with FP32, for:")
    assert second.startswith(f"{alternative}: speed-up" if alternative else "None:")
    assert ("not to be trusted" in resolution) == (case == "noisy")
    assert not alternative or "Not known: " in second
    assert ("A quieter machine: FP16" in html) == (case in ("noisy", "none wins"))
    if case == "alternative":
        assert "whether it meets the threshold of 0.950; the interval of its SSIM begins at 0.930" in second
        assert "More prompts: FP16" in html


REASONS = {
    "slow": "none is faster than FP32 at 95 %",
    "poor": "Of no other that may be recommended is it supported at 95 % that it meets 0.930",
    "noisy": "Whether another format is faster is not known: no speed of this run is to be trusted",
    "none": "There is no other format that may be recommended",
}


@pytest.mark.parametrize(
    ("others", "trusted", "aim", "expected"),
    [
        ([{"speedup": 1.02, "ssim": 0.99}], True, "time_s", "slow"),
        ([{"speedup": 2.0, "ssim": 0.99}], False, "time_s", "noisy"),
        ([{"speedup": 2.0, "ssim": 0.932}], True, "time_s", "poor"),
        ([{"speedup": 2.0, "ssim": 0.932}], False, "time_s", "noisy poor"),
        ([{"speedup": 2.0, "ssim": 0.99, "peak_mib": 900.0}], True, "time_s", "none"),
        ([{"speedup": 2.0, "ssim": 0.99, "simulated": True}], False, "time_s", "none"),
        ([{"speedup": 2.0, "ssim": 0.932, "disk_mib": 9.0}], False, "disk_mib", "poor"),
    ],
)
def test_why_nothing_else_is_recommended_is_true_and_no_other_reason_is_given(others, trusted, aim, expected):
    """Protects from 'supported of no other format' beside one that is, in a run whose speeds are not to be trusted."""
    baseline = candidate("fp32", is_baseline=True, trusted=trusted)
    given = [candidate(f"v{number}", trusted=trusted, **made) for number, made in enumerate(others)]
    asked = Scenario(label="S", device="cpu", memory_limit_mib=600, ssim_threshold=0.93, minimise=aim)
    main = SimpleNamespace(label="S", asked=["A"], decision=decide(asked, [baseline, *given]), unanswered="")
    assert supported(main.decision, baseline) is baseline
    said = " ".join(brief_words.recommended(main, baseline, baseline, str))
    assert {key for key, text in REASONS.items() if text in said} == set(expected.split())
    assert ("is supported at 95 % for V0" in said) == (expected == "noisy")


def test_what_is_not_supported_is_not_called_forbidden():
    """Protects from 'no format may be recommended' where one may be that is not supported, and FP32 may not."""
    baseline = candidate("fp32", is_baseline=True, peak_mib=900.0)
    asked = Scenario(label="S", device="cpu", memory_limit_mib=600, ssim_threshold=0.93, minimise="time_s")
    decision = decide(asked, [baseline, candidate("a", speedup=2.0, ssim=0.932)])
    main = SimpleNamespace(label="S", asked=["A"], decision=decision, unanswered="")
    said = " ".join(brief_words.recommended(main, supported(decision, baseline), baseline, str))
    assert said.startswith("Nothing is supported at 95 %, for: S (A).") and REASONS["poor"] in said


@pytest.mark.parametrize(
    ("aim", "own", "said"),
    [
        ("time_s", 394.0, "1.9 times the memory of FP32: 244 MiB against 128 MiB"),
        ("disk_mib", 394.0, "1.9 times the memory of FP32: 244 MiB against 128 MiB"),
        ("time_s", 280.0, ""),
        ("time_s", 200.0, ""),
        ("peak_mib", 200.0, ""),
    ],
)
def test_what_the_recommended_format_costs_in_memory_is_said_where_it_does(aim, own, said):
    """Protects a reader from a faster format that needs nearly twice the memory, which the table alone tells."""
    baseline = candidate("fp32", is_baseline=True, peak_mib=278.0)
    chosen = candidate("a", speedup=2.0, ssim=0.99, disk_mib=5.0, peak_mib=own)
    asked = Scenario(label="S", device="cpu", memory_limit_mib=600, ssim_threshold=0.93, minimise=aim)
    main = SimpleNamespace(label="S", asked=["A"], decision=decide(asked, [baseline, chosen]), unanswered="")
    found = " ".join(brief_words.recommended(main, chosen, baseline, str))
    assert said in found and (said != "") == ("times the memory" in found)


def test_the_rows_are_those_that_the_note_names(project):
    """Protects a reader from six rows of twenty-six that stand there for no known reason."""
    make_up(*CASES["alternative"][:2])
    html = brief_of()
    note = html.split('<p class="note">')[1].split("</p>")[0]
    assert "the fastest, the smallest that was timed, then the next best for this use, then others" in note
    rows = re.findall(r'<th scope="row">(.*?)(?:<small>|</th>)', html)
    assert rows == ["FP32", "FP16", "BF16", "INT8 Simulated"]


def test_of_two_images_no_format_but_the_reference_is_recommended(project):
    """Protects a reader who tried two prompts: their mean has no interval, and no threshold follows from it."""
    make_up(*CASES["supported"][:2])
    for path in Path("reports/embedded/quality").iterdir():
        record = json.loads(path.read_text("utf-8"))
        ssim = {"mean": record["ssim"], "low": None, "high": None, "n": 2}
        record |= {"averages": record["averages"] | {"ssim": ssim}}
        path.write_text(json.dumps(record), "utf-8")
    html = brief_of()
    first, second, _resolution = answers(html)
    assert first.startswith("Stay with FP32") and "fewer than 3 images have no interval" in second
    assert "-1.0" not in html and "−1.0" not in html and "A threshold of SSIM" not in html


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("kind", ["usual", "quick", "not generated", "long"])
def test_it_has_two_pages(project, kind, language):
    """Protects a reader of five minutes: few or many formats, long names, with and without images."""
    if kind == "long":
        params = json.loads(Path("params.yaml").read_text("utf-8"))
        for name, variant in params["variants"].items():
            variant["label"] = f"{name.upper()} of a runtime with a name"
        Path("params.yaml").write_text(json.dumps(params), "utf-8")
    if kind == "not generated":
        for path in Path("reports/embedded/quality").iterdir():
            record = {"variant": path.stem, "measured": False, "reason": "random_weights"}
            path.write_text(json.dumps(record), "utf-8")
    html = brief_of(language, quick=kind == "quick")
    made = pdf_of(html, 0)
    assert len(PdfReader(io.BytesIO(made)).pages) == 2 and (kind != "usual" or pdf_of(html, 0) == made)
    assert html.count("<img") == (0 if kind == "not generated" else 9)


def test_the_lines_of_code_run(tiny_model, tmp_path, monkeypatch):
    """Protects a reader from code that was never run."""
    write_settings(tmp_path)
    write_models(tmp_path, tiny_model, ("bf16",))
    monkeypatch.chdir(tmp_path)
    lines = brief.code("bf16", 'A "cat" on a hill')
    assert len(lines) == 5
    exec("\n".join(lines), {})
    assert Path("image.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("quick", [False, True])
def test_the_folder_to_load_from_is_named(project, quick):
    """Protects a reader from 'the folder .', which names no place."""
    html = brief_of(quick=quick)
    assert ("In the top folder of this project, by its" in html) != quick
    assert ('In the folder <span class="code">.quick</span> of this project' in html) == quick


def test_the_table_for_other_places_has_every_format_in_as_many_columns(project):
    about = subject()
    text = exports.summary_markdown(about.params, about.results, about.origin)
    about_run, _empty, *rows = text.splitlines()
    assert "Invented CPU, 2 cores (0123456789ab), 2023-11-14" in about_run and "timed against itself" in about_run
    cells = [row.strip("|").split("|") for row in rows]
    assert {len(row) for row in cells} == {len(exports.COLUMNS)}
    assert [row[0].strip() for row in cells[2:]] == [variant["label"] for variant in VARIANTS.values()]


def test_the_table_of_all_figures_has_units_and_intervals(project):
    about = subject()
    rows = list(csv.DictReader(io.StringIO(figures_table.table(about.results))))
    assert [row["label"] for row in rows] == [variant["label"] for variant in VARIANTS.values()]
    fp16, result = rows[2], about.results.variants[2]
    assert float(fp16["speedup_x_low"]) == pytest.approx(result.timing["speedup_low"], rel=1e-5)
    assert float(fp16["ssim_high"]) == pytest.approx(result.quality["averages"]["ssim"]["high"], rel=1e-5)
    assert float(fp16["compression_x"]) == pytest.approx(result.compression, rel=1e-5)
    assert rows[3]["latency_s"] == "" and rows[3]["simulated"] == "True" and rows[3]["ssim"] != ""


def test_the_fragment_of_a_model_card_is_what_the_hub_reads(project):
    """By the Hub's own library: each metric becomes an evaluation result of its own."""
    from huggingface_hub.repocard_data import model_index_to_eval_results

    about = subject()
    text = exports.model_index(load_params(), about.results)
    found = YAML(typ="safe", pure=True).load(text)
    name, results = model_index_to_eval_results(found["model-index"])
    assert name == "Embedded scene model"
    assert {item.task_type for item in results} == {"text-to-image"}
    by_format = {(item.dataset_config, item.metric_type): item.metric_value for item in results}
    assert by_format["bf16", "ssim"] == pytest.approx(about.results.variants[1].quality["ssim"], rel=1e-5)
    assert ("int8-simulated", "latency_s") not in by_format


@pytest.mark.parametrize("restarts", [1, 3])
def test_what_was_started_once_is_not_recommended_and_more_restarts_are_said_to_help(restarts):
    """Protects from a speed-up that another start of the same processes does not have."""
    baseline = candidate("fp32", is_baseline=True)
    fast = candidate("a", speedup=2.0, ssim=0.99, restarts=restarts)
    asked = Scenario(label="S", device="cpu", memory_limit_mib=600, ssim_threshold=0.93, minimise="time_s")
    decision = decide(asked, [baseline, fast])
    main = SimpleNamespace(label="S", asked=["A"], decision=decision, unanswered="")
    chosen = supported(decision, baseline)
    assert (chosen is fast) == (restarts > 1)
    said = " ".join(brief_words.changes(main, [], None if chosen is fast else fast, baseline, str))
    assert ("More restarts: A" in said) == (restarts == 1)
    known = " ".join(brief_words.alternative_words(main, fast, chosen, baseline, str))
    assert ("for its processes were started once" in known) == (restarts == 1)
