"""The audit as a document of its own: its headings, and where each table and figure of the study is here."""

from collections.abc import Mapping
from typing import Any

from stages.lib.reporting.languages import Translate
from stages.lib.reporting.outline import AUDIT, FIGURES, STUDY_TABLES, Section, document_with

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
    names = [(_("Table %(number)s") % {"number": number}, key) for number, key in enumerate(STUDY_TABLES, 1)]
    names += [(_("Figure %(number)s") % {"number": number}, key) for number, key in enumerate(FIGURES, 1)]
    places = [
        (
            name,
            CHAPTERS.get(key, ""),
            document_with(CHAPTERS.get(key, ""), values["language"]),
            _own(key, values, sections),
        )
        for name, key in names
    ]
    return {"sections": sections, "in_audit": True, "elsewhere": {}, "study_places": places}


def _own(key: str, values: Mapping[str, Any], sections: Mapping[str, Section]) -> str:
    """The heading of the audit under which the study's table or figure `key` is judged or shown."""
    shown = "study-tables" if key in values["study_beside"] else "theory-study" if f"figure-{key}" in AUDIT else key
    section = sections.get(shown)
    return f"{section.number} {section.title}" if section else ""
