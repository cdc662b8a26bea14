"""Numbers, dates, lists, units and plural forms as each language writes them, worked out by hand."""

import json
import re
from datetime import date

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.files import rounded
from stages.lib.reporting import languages
from stages.lib.reporting.charts import canvas, shapes
from stages.lib.reporting.languages import catalogue_of, day, language_of, list_of, number, percent_of, spoken, unit
from stages.lib.reporting.numbers import figure
from stages.lib.results.speeds import stated
from tests.conftest import PROJECT

NARROW, NO_BREAK = "\u202f", "\u00a0"


@pytest.mark.parametrize(
    ("value", "spec", "english", "russian"),
    [
        (1234.5, ",.1f", "1,234.5", f"1{NARROW}234,5"),
        (-0.25, ".2f", "−0.25", "−0,25"),
        (0.25, "+.2f", "+0.25", "+0,25"),
        (1234567, ",d", "1,234,567", f"1{NARROW}234{NARROW}567"),
        (0.5, "g", "0.5", "0,5"),
        (8, "g", "8", "8"),
        (0.0, ".1e", "0", "0"),
        (0.0000123, ".1e", "1.2e−05", f"1,2{NO_BREAK}·{NO_BREAK}10⁻⁵"),
    ],
)
def test_a_number_has_the_signs_of_its_language(value, spec, english, russian):
    assert number(value, spec) == english
    with spoken(language_of("ru")):
        assert number(value, spec) == russian
    assert number(value, spec) == english  # only the block was in Russian


def test_figures_shares_dates_units_and_lists_follow_the_language():
    with spoken(language_of("ru")):
        assert (figure("psnr_db", 41.52), percent_of(0.125, ".1f")) == ("41,5", f"12,5{NO_BREAK}%")
        assert re.sub(r"\s", " ", day(date(2026, 11, 24))) == "24 ноября 2026 г."
        assert (unit("dB"), unit("")) == ("дБ", "")
        assert list_of(["A", "B", "C"]) == "A, B и C"
    assert day(date(2026, 11, 24)) == "November 24, 2026"
    assert (unit("dB"), list_of(["A", "B", "C"])) == ("dB", "A, B, and C")


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 решение"), (3, "3 решения"), (5, "5 решений"), (11, "11 решений"), (21, "21 решение")]
)
def test_a_count_has_its_plural_form(count, words):
    """Protects Russian from 'изменились 21 решения': the catalogue's own rule, read without a build step."""
    ngettext = language_of("ru").translations.ngettext
    text = ngettext("%(count)s decision changed", "%(count)s decisions changed", count)
    assert (text % {"count": count}).startswith(words)


def test_a_language_without_a_catalogue_is_named_with_those_that_have_one():
    with pytest.raises(UserError, match="names 'xx', which has no catalogue: use en, ru"):
        language_of("xx")


def test_the_ticks_of_a_chart_are_written_in_its_language(monkeypatch):
    """Letters are generated as paths, so the labels are looked at before they are generated."""
    seen = []

    def watched(text: str) -> str:
        seen.append(languages.localized(text))
        return seen[-1]

    monkeypatch.setattr(canvas, "localized", watched)
    rows = [shapes.Bar("A", (0.5,), "note"), shapes.Bar("B", (1.5,), "note")]
    with spoken(language_of("ru")):
        shapes.stacked_bars(rows, ["part"], "axis")
    assert "0,50" in seen and not [text for text in seen if re.search(r"\d\.\d", text)]


@pytest.mark.parametrize("value", [1.1849965223237304, 1.0605019681186674, 2.675, 0.0005, 123456.7, 7])
def test_a_figure_and_its_record_round_alike(value):
    """Protects from 1.18 in the report beside 1.19 in the README: records keep six digits, and are rounded again."""
    for key in ("speedup", "latency_s", "ssim", "run_peak_mib"):
        assert figure(key, value) == figure(key, rounded(value))
    assert figure("speedup", 1.1849965223237304) == "1.19"


@pytest.mark.parametrize("model", ["embedded", "embedded-transformer"])
def test_every_committed_speed_is_rounded_by_one_route(model):
    """Protects the README's table, made of the summary, from the report's, made of single timings."""
    reports = PROJECT / "reports" / model
    summary = json.loads((reports / "summary.json").read_text("utf-8"))
    names = [row["variant"] for row in summary["variants"]]
    timings = {name: json.loads((reports / f"timing/{name}.json").read_text("utf-8")) for name in names}
    found = stated(timings, summary["baseline"])[0]
    rows = [row for row in summary["variants"] if row["speedup"] is not None]
    assert len(rows) > 5
    for row in rows:
        for key in ("speedup", "latency_s"):
            assert figure(key, row[key]) == figure(key, found[row["variant"]][key]), row["variant"]


def test_no_russian_text_sends_to_an_english_document_or_repeats_a_word():
    """Protects from 'the rest is in report.html', whose text is English, from decimal points and doubled words."""
    for message in catalogue_of("ru"):
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in said if message.id else ():
            assert not re.search(r"\b(report|brief|audit)\.(html|pdf)", text), text
            assert not re.search(r"\b([а-яё]{3,})[:;,]? \1\b", text), text
            assert not re.search(r"\b95 ?%+ (бутстреп|доверительн|интервал)", text), "95%-й " + text
            assert not re.search(r"(?<![\w.])\d+\.\d+ (дБ|МиБ|ГиБ|с|раза|бита)\b", text), text


def test_no_sentence_is_longer_than_thirty_words():
    """Protects a reader from a sentence that has to be read twice."""
    for message in catalogue_of("ru"):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in (*ids, *said) if message.id else ():
            for sentence in re.split(r"(?<=[.!?:;])\s+", re.sub(r"<[^>]*>", "", text)):
                assert len([word for word in sentence.split() if re.search(r"\w", word)]) <= 30, sentence
