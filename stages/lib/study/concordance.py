"""The audit as a document of its own: its headings, and where each table and figure of the study is here."""

from collections.abc import Mapping
from typing import Any

from stages.lib.reporting.languages import Translate
from stages.lib.reporting.outline import FIGURES, STUDY_TABLES, Section

ORDER = ("audit", "study-tables", "theory-study", "future", "prospects", "concordance")
# The report's chapter with the content of each table and figure of the study, by its key in the outline.
CHAPTERS = {
    "machine": "method-machine",
    "formats": "method-formats",
    "prompts": "method-prompts",
    "sizes": "results-size",
    "overhead": "results-size",
    "performance": "results-speed",
    "quality": "results-quality",
    "kinds": "results-quality",
    "appearance": "results-appearance",
    "tradeoff": "analysis-tradeoff",
    "components": "analysis-components",
    "recommendations": "analysis-advice",
    "costs": "analysis-cost",
    "grid": "summary",
    "rounding": "theory-quantization",
    "visual": "results-visual",
}


def audit_document(values: Mapping[str, Any], _: Translate) -> dict[str, Any]:
    """What the audit's template is filled with instead of the `values` of the report: its own headings and places."""
    own = {"study-tables": _("Table by table"), "concordance": _("Where the study's tables, figures and listings are")}
    titles = {key: own[key] if key in own else values["sections"][key].title for key in ORDER}
    sections = {key: Section(key, str(number), title, 1) for number, (key, title) in enumerate(titles.items(), 1)}
    places = [
        (_("Table %(number)s") % {"number": number}, CHAPTERS.get(key, ""), _beside(key, values, sections))
        for number, key in enumerate(STUDY_TABLES, 1)
    ]
    places += [
        (_("Figure %(number)s") % {"number": number}, CHAPTERS[key], "") for number, key in enumerate(FIGURES, 1)
    ]
    return {"sections": sections, "in_audit": True, "elsewhere": {}, "study_places": places}


def _beside(key: str, values: Mapping[str, Any], sections: Mapping[str, Section]) -> str:
    """The heading of the audit under which the study's table `key` is judged."""
    section = sections["study-tables"] if key in values["study_beside"] else sections.get(key)
    return f"{section.number} {section.title}" if section else ""
