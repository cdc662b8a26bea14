"""The report of the results in the working folder, as tests read it."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from stages import report
from stages.lib.project.params import load_params
from stages.lib.reporting import page as page_module
from stages.lib.reporting.charts.canvas import Chart
from stages.lib.reporting.document import TEMPLATES
from stages.lib.reporting.images.figures import page_images
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.origin import Origin
from stages.lib.reporting.page import Subject

RUN = Path("data/runs/embedded")
ORIGIN = Origin(commit="0" * 40, modified=False, epoch=1_700_000_000)

# Compiling the templates and drawing charts takes most of the time of a page. Within a process of tests templates are
# compiled once, and charts of the same formats drawn once, but for those of other models and machines: what a chart
# shows is tests/reporting/test_charts.py's.
report.environment = cache(report.environment)
drawn: dict[tuple, dict[str, Any]] = {}
draw = page_module.charts


def charts(subject: Subject, others: Mapping[str, Chart | None], translate: Translate) -> dict[str, Any]:
    results = subject.results
    key = tuple(result.label for result in results.variants), results.illustrated, translate("Format")
    found = drawn.get((*key, False)) or drawn.get((*key, subject.quick))  # a quick look shows some of all charts
    found = found or drawn.setdefault((*key, subject.quick), draw(subject, {}, translate))
    return found | {"charts": found["charts"] | {name: chart for name, chart in others.items() if chart}}


page_module.charts = charts


def subject(quick: bool = False, **changes) -> Subject:
    """What the report in the working folder is about, of an invented commit."""
    read = report.read_subject(load_params(), Path("reports"), RUN / "images", RUN / "models/base", quick)
    return replace(read, origin=ORIGIN, **changes)


def rendered(language: str = "en", templates: Path = TEMPLATES, **changes) -> str:
    """The page, before it is divided into one for the screen and one for print."""
    about = subject(**changes)
    return report.pages(about, page_images(about.results, about.prompts, RUN / "images"), language, templates)[0]
