"""The chapter about another model: there where records are, and how to get them where they are not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stages.lib.project.params import load_params
from stages.lib.reporting.other_models import other_models_values, uses_of
from stages.lib.reporting.outline import MODELS_CHAPTER, OF_MODELS
from stages.lib.results.other_models import Missing, this_model
from tests.pages import rendered, subject
from tests.results_folder import write_model, write_project
from tests.stages.test_report import VARIANTS

OTHER = "embedded-transformer"


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    write_project(tmp_path, VARIANTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chapter(html: str) -> str:
    return html.partition('<h2 id="models"')[2].partition('<h2 id="limits"')[0]


def test_records_of_another_model_are_compared_in_every_language(project):
    """Protects the chapter from figures that one model lacks: of the other one nothing but the baseline was timed."""
    target = write_model(project, OTHER)
    for name in set(VARIANTS) - {"fp32"}:
        timing = {"variant": name, "measured": False, "reason": "simulated", "calls": []}
        (target / f"timing/{name}.json").write_text(json.dumps(timing), encoding="utf-8")
    english = chapter(rendered())
    assert all(f'id="table-{key}"' in english for key in ("models", "models-formats", "models-kinds", "models-rules"))
    assert english.count("Embedded scene model, transformer") > 5
    assert "make report MODEL" not in english
    assert "Встроенная модель сцен, трансформер" in chapter(rendered("ru"))


def test_a_model_without_images_is_compared_by_size_and_speed(project):
    """Protects the comparison with a model at true size, of random weights."""
    target = write_model(project, OTHER)
    for path in [*target.glob("quality/*.json"), *target.glob("sensitivity/*.json")]:
        path.write_text(json.dumps({"variant": path.stem, "measured": False, "reason": "random_weights"}), "utf-8")
    english = chapter(rendered())
    assert "no images were judged" in english and 'id="table-models-formats"' in english
    assert "format by format" not in english and "Spearman" not in english
    assert "Faster than the reference on both: BF16." in english


def test_without_records_the_chapter_says_how_to_get_them(project):
    html = rendered()
    assert f"make report MODEL={OTHER}" in chapter(html)
    assert "<table" not in chapter(html) and 'id="table-models' not in html
    assert subject(quick=True).others == ()


def test_without_a_model_to_compare_there_is_no_chapter(project):
    about = subject()
    own = this_model(about.results, about.params)
    assert other_models_values(own, (), load_params(), str)["without"] == MODELS_CHAPTER
    missing = Missing(OTHER, "Other", "absent")
    assert other_models_values(own, (missing,), load_params(), str)["without"] == OF_MODELS


def test_a_format_that_one_model_lacks_is_advised_to_neither(project):
    """Protects the comparison of advice: what was not measured on the other model has not failed there."""
    about = subject()
    own = this_model(about.results, about.params)
    winners = {decision.winner.name for use in uses_of([own, own], about.params, str) for decision in use.decisions}
    assert winners
    for name in winners - {own.baseline}:
        other = replace(own, variants=tuple(item for item in own.variants if item.name != name))
        uses = uses_of([own, other], about.params, str)
        assert uses and name not in {item.name for use in uses for found in use.decisions for item in found.eligible}
