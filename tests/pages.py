"""The report of the results in the working folder, as tests read it."""

from dataclasses import replace
from pathlib import Path

from stages import report
from stages.lib.project.params import load_params
from stages.lib.reporting.document import TEMPLATES
from stages.lib.reporting.images.figures import page_images
from stages.lib.reporting.origin import Origin
from stages.lib.reporting.page import Subject

RUN = Path("data/runs/embedded")
ORIGIN = Origin(commit="0" * 40, modified=False, epoch=1_700_000_000)


def subject(quick: bool = False, **changes) -> Subject:
    """What the report in the working folder is about, of an invented commit."""
    read = report.read_subject(load_params(), Path("reports"), RUN / "images", RUN / "models/base", quick)
    return replace(read, origin=ORIGIN, **changes)


def rendered(language: str = "en", templates: Path = TEMPLATES, **changes) -> str:
    """The page, before it is divided into one for the screen and one for print."""
    about = subject(**changes)
    return report.page(about, page_images(about.results, about.prompts, RUN / "images"), language, templates)
