"""Every text of the report is translated, says the same as its source, and passes through a catalogue at all."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from stages.lib.project.params import load_params
from stages.lib.project.prompts import load_prompts
from stages.lib.project.sections import Report
from stages.lib.quality.metrics import METRICS
from stages.lib.reporting.document import TEMPLATES
from stages.lib.reporting.languages import LOCALES, SOURCE, catalogue_of
from stages.lib.reporting.words.names import AS_THEY_COME, UNITS
from stages.lib.reporting.words.names import translated as in_language
from tests.conftest import PROJECT
from tests.imports import reached_from
from tools.catalogue import extracted, translated

LANGUAGES = sorted(path.name for path in LOCALES.iterdir() if path.is_dir())
# What stands in a template and is the same in every language: names, signs and abbreviations.
NAMES = {"Python", "PyTorch", "CUDA", "diffusers", "SSIM", "KID", "CMMD", "FID", "CIEDE2000", "n"}
SPOKEN_ATTRIBUTES = ("alt", "title", "aria-label", "placeholder", "content")


@pytest.fixture(scope="module")
def texts() -> dict:
    """Every text of the source by its id."""
    return {message.id: message for message in extracted() if message.id}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_none_is_left_over(language, texts):
    """Run `python -m tools.catalogue`, then translate what it lists."""
    messages = {message.id: message for message in catalogue_of(language) if message.id}
    assert [text for text in texts if text not in messages] == [], "not in the catalogue"
    assert [text for text in messages if text not in texts] == [], "no longer used"
    assert [text for text, message in messages.items() if not translated(message.string)] == [], "not translated"
    assert [text for text, message in messages.items() if message.fuzzy] == [], "fuzzy"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_values_and_marks_of_its_source(language):
    """Protects a sentence from losing a number, and the page from an element that is never closed."""
    catalogue = catalogue_of(language)
    for message in (message for message in catalogue if message.id):
        sources = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for string in strings:
            assert values_in(string) == values_in(sources[-1]), sources[0]
            assert sorted(re.findall(r"</?\w+", string)) == sorted(re.findall(r"</?\w+", sources[0])), sources[0]
            assert not message.python_format or not re.search(r"%(?![%(])", string.replace("%%", "")), sources[0]
        if isinstance(message.id, tuple):
            assert len(strings) == catalogue.num_plurals, sources[0]


def test_what_may_be_one_is_not_counted_in_the_plural(texts):
    """Protects a reader from '1 restarts': such a text has plural forms, or names the number after the noun."""
    counted = re.compile(r"(?<!= )(?<!of )%\((n|restarts|cores|asked|extra|discarded)\)[sd] (?:[a-z]+ )?[a-z]+s\b")
    assert {text for text in texts if isinstance(text, str) and counted.search(text)} == set()


def values_in(text: str) -> set[str]:
    """The values that a text is filled with, in Python and in a script of the page."""
    return set(re.findall(r"%\(\w+\)[sd]|{\w+}", text))


def test_the_languages_of_params_yaml_have_catalogues():
    annotation = get_args(Report.model_fields["languages"].annotation)[0]
    assert sorted(get_args(annotation)) == sorted([SOURCE, *LANGUAGES])


# What the field has other words for: an image is generated, a format recommended, a layer executed in INT8, and so on.
FOREIGN_WORDS = {
    "en": re.compile(
        r"\b(?:pictures?|crew|taps?|ledger|stand-in|take stock|earned a word|noise floor|process growth|multiplied in|"
        r"drew|advised|not sure|keeps the floor|step size|as they come|multiplying kernel|things asked for)\b",
        re.IGNORECASE,
    ),
    "ru": re.compile(
        r"\b(?:картин\w+|нарисован\w*|доминиру\w+|квантовани\w+|квантаци\w+|порч\w+|ущерб\w*|портит)\b",
        re.IGNORECASE,
    ),
}


class Visible(HTMLParser):
    """What a reader sees of a template once everything that is translated or computed is gone."""

    def __init__(self, html: str):
        super().__init__()
        self.words: list[str] = []
        self.quoted = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.quoted = self.quoted or (tag, ("class", "references")) in [(tag, item) for item in attrs if tag == "ol"]
        self.words += [value for key, value in attrs if key in SPOKEN_ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self.quoted = self.quoted and tag != "ol"

    def handle_data(self, data: str) -> None:
        if not self.quoted:
            self.words.append(data)


def untranslated(template: str) -> list[str]:
    """The words of a template that no catalogue can change."""
    rest = re.sub(r"{#.*?#}", "", template, flags=re.DOTALL)
    rest = re.sub(r"{%-?\s*trans\b.*?endtrans\s*-?%}", "", rest, flags=re.DOTALL)
    rest = re.sub(r"<(script|style)\b.*?</\1>", "", rest, flags=re.DOTALL)
    rest = re.sub(r"{%.*?%}|{{.*?}}", "", rest, flags=re.DOTALL)
    rest = re.sub(r' (data-[\w-]+|title)="(python -m [\w. ]*)?"', "", rest)  # attributes that a macro gives: no words
    rest = re.sub(r'<meta (charset|name="viewport")[^>]*>', "", rest)
    found = [word for text in Visible(rest).words for word in re.findall(r"[^\W\d_]+\d*", text)]
    return [word for word in found if word not in NAMES]


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.j2")), ids=lambda path: path.name)
def test_a_template_says_nothing_outside_of_trans(path):
    assert untranslated(path.read_text(encoding="utf-8")) == []


def test_words_outside_of_trans_are_noticed():
    assert untranslated('<p title="A word">{% trans %}yes{% endtrans %} no {{ _("yes") }}</p>') == ["A", "word", "no"]


def report_modules() -> list[Path]:
    """Modules of the report that write sentences: those with a translating function."""
    modules = sorted(reached_from(PROJECT / "stages/report.py"))
    return [path for path in modules if re.search(r"\b_: Translate|translations\.", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", report_modules(), ids=lambda path: path.name)
def test_numbers_in_sentences_are_written_as_their_language_does(path):
    """Use stages.lib.reporting.languages.number: a format specification of Python always writes a decimal point."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    written = [node for node in tree.body if getattr(node, "name", "") != "main"]  # main writes to the terminal
    for node in (inner for part in written for inner in ast.walk(part)):
        if isinstance(node, ast.FormattedValue) and node.format_spec:
            spec = "".join(
                getattr(part, "value", "") for part in node.format_spec.values if isinstance(part, ast.Constant)
            )
            assert not re.search(r"[.,fge%]", spec), f"{path.name}:{node.lineno} formats {ast.unparse(node)}"


def test_the_words_of_params_yaml_and_the_prompts_are_in_the_catalogue():
    """Protects a translated page from English where nobody has changed what came with the project."""
    params = load_params(PROJECT / "params.yaml")
    prompts = load_prompts(PROJECT / params.prompts.file, params.prompts.sets)
    words = {text for prompt in prompts for text in (prompt.kind, prompt.complexity)}
    words |= {params.report.title, params.models["embedded"].label, params.models["sd15-architecture"].label}
    words |= {scenario.label for scenario in params.scenarios.values()}
    assert words <= set(AS_THEY_COME)
    assert {metric.unit for metric in METRICS.values()} - {"", "x", "%"} <= set(UNITS)


def test_a_user_s_words_stay_as_they_are():
    assert in_language("my own label", lambda text: "translated") == "my own label"
    assert in_language(AS_THEY_COME[0], lambda text: "translated") == "translated"


@pytest.mark.parametrize("language", [SOURCE, *LANGUAGES])
def test_the_report_uses_the_words_of_the_field(language):
    """Protects its readers from words that a project invents in the course of time."""
    messages = [message for message in catalogue_of(LANGUAGES[0]) if message.id]
    texts = [str(message.id if language == SOURCE else message.string) for message in messages]
    assert [found for text in texts for found in FOREIGN_WORDS[language].findall(text)] == []


@pytest.mark.parametrize("path", ["README.md", "docs/measurements.md", "params.yaml"])
def test_so_does_what_a_user_reads_besides(path):
    assert FOREIGN_WORDS[SOURCE].findall((PROJECT / path).read_text(encoding="utf-8")) == []
