"""What the report's templates need of the study: audit, blocks beside our tables, formulas, Tables 12, 14 and 15."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.project.files import read_json
from stages.lib.project.params import Params, Variant
from stages.lib.reporting.languages import Language
from stages.lib.reporting.page import Subject
from stages.lib.reporting.recommendations import Advice
from stages.lib.results.machines import Machine
from stages.lib.study import outlooks
from stages.lib.study.audit import audit
from stages.lib.study.beside import blocks
from stages.lib.study.formulas import study_formulas
from stages.lib.study.sources import Sources


def study_values(
    folder: Path, subject: Subject, recommended: Mapping[str, Variant | None], language: Language
) -> dict[str, Any]:
    """`folder` holds the study's data; `recommended` has this report's format for each scenario of Table 12."""
    _ = language.translations.gettext
    findings = audit(folder, _)
    sources = Sources(
        printed=read_json(folder / "printed.json"),
        exact=read_json(folder / "stable_diffusion_v1_5.json"),
        findings={finding.key: finding for finding in findings},
        params=subject.params,
        results=subject.results,
        prompts=tuple(subject.prompts),
        machines=subject.machines,
        language=language.code,
        recommended=dict(recommended),
        _=_,
    )
    return {
        "audit": findings,
        "study_beside": blocks(sources),
        "study_recommended": {key: sources.said(row["format"]) for key, row in sources.printed["table_12"].items()},
        "study_formulas": study_formulas(sources.exact, _),
        "study_directions": outlooks.directions(sources),
        "study_prospects": outlooks.prospects(sources),
    }


def recommended_variants(
    advice: Sequence[Advice], params: Params, machines: Sequence[Machine]
) -> dict[str, Variant | None]:
    """The variant of each scenario's advice, which another machine may have measured."""
    known = {item.variant.name: item.variant for machine in machines for m in machine.models for item in m.variants}
    known |= params.variants
    return {item.key: known.get(item.decision.winner.name) for item in advice if item.decision.winner}
