"""What should a person who was not there know? Render all results as one page for the screen and one PDF for print.

Reads what every other stage wrote; writes report.html, report.pdf, audit.pdf and the two pages of brief.pdf in each
language, and in English all formats as a table in Markdown and in CSV, and a fragment of a model card: all or none. The
same results at the same commit give the same bytes: dates come from the commit (or SOURCE_DATE_EPOCH), never from the
clock.
"""

import argparse
import gc
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from stages.lib.project.command_line import counted
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_bytes
from stages.lib.project.params import Params, load_params
from stages.lib.project.prompts import load_prompts
from stages.lib.reporting import exports
from stages.lib.reporting.brief import brief_values
from stages.lib.reporting.document import TEMPLATES, environment, for_screen
from stages.lib.reporting.images.figures import page_images
from stages.lib.reporting.languages import SOURCE, language_of, spoken
from stages.lib.reporting.origin import find_origin
from stages.lib.reporting.page import Subject, page_values
from stages.lib.reporting.pdf import pdf_of
from stages.lib.results import figures_table
from stages.lib.results.machines import Machine, load_machines
from stages.lib.results.other_models import load_model
from stages.lib.results.records import load_results
from stages.lib.study.beside import recommended_variants, study_values
from stages.lib.study.concordance import audit_document

STUDY = Path("data/study")


def main() -> None:
    """Read, render, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reports", type=Path, required=True, help="folder of all models' results")
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder of images per variant")
    parser.add_argument("--base", type=Path, required=True, help="the base model, whose weights Figure 2 shows")
    parser.add_argument("--html", type=Path, required=True, nargs="+", help="a file for each of report.languages")
    parser.add_argument("--pdf", type=Path, required=True, nargs="+", help="the same in the same order")
    parser.add_argument("--brief", type=Path, required=True, nargs="+", help="the same in the same order, two pages")
    parser.add_argument("--audit", type=Path, required=True, nargs="+", help="the same in the same order, of the study")
    parser.add_argument("--table", type=Path, required=True, help="all formats as a table in Markdown")
    parser.add_argument("--csv", type=Path, required=True, help="every figure of every format")
    parser.add_argument("--card", type=Path, required=True, help="the model-index of a Hugging Face model card")
    parser.add_argument(
        "--quick", action="store_true", help="a quick look: it says so, and leaves out what was not measured"
    )
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    languages = params.report.languages
    outputs = {"--html": arguments.html, "--pdf": arguments.pdf, "--brief": arguments.brief, "--audit": arguments.audit}
    for option, paths in outputs.items():
        if len(paths) != len(languages):
            raise UserError(
                f"params.yaml: 'report.languages' has {len(languages)} languages, {option} {len(paths)} files: give "
                "one for each language, in the stage `report` of dvc.yaml"
            )
    subject = read_subject(params, arguments.reports, arguments.images, arguments.base, arguments.quick)
    images = page_images(subject.results, subject.prompts, arguments.images)
    files = {
        arguments.table: exports.summary_markdown(params, subject.results, subject.origin).encode(),
        arguments.csv: figures_table.table(subject.results).encode(),
        arguments.card: exports.model_index(params, subject.results).encode(),
    }
    with ProcessPoolExecutor(len(languages)) as pool:  # charts and layout keep a core busy for seconds
        found = pool.map(documents, *zip(*((subject, images, language) for language in languages), strict=True))
        for paths, contents in zip(zip(*outputs.values(), strict=True), found, strict=True):
            files |= dict(zip(paths, contents, strict=True))
    write_all(files)
    sizes = [f"{path} {len(content) / 1024**2:.1f} MiB" for path, content in files.items()]
    print(
        f"report: {counted(len(params.variants), 'variant')}, {', '.join(sizes)}, {time.perf_counter() - begin_s:.1f} s"
    )


def read_subject(params: Params, reports: Path, images: Path, base: Path, quick: bool = False) -> Subject:
    """Everything that was measured, from the folders of results and images and the checkout."""
    results = load_results(reports, images, params, quick)
    return Subject(
        params=params,
        results=results,
        prompts=load_prompts(Path(params.prompts.file), params.prompts.sets),
        images=images,
        machines=other_machines(reports, results.environment["fingerprint"], params.model),
        base=base,
        origin=find_origin(".." if quick else "."),  # tools.quick works in a folder of the project
        quick=quick,
        others=() if quick else tuple(load_model(reports, key, params) for key in params.other_models),
    )


def other_machines(reports: Path, fingerprint: str, model: str) -> tuple[Machine, ...]:
    """The machines of reports/machines: of this one, by its `fingerprint`, what it measured besides `model`."""
    machines = load_machines(reports / "machines")
    elsewhere = (machine.without(model) if machine.fingerprint == fingerprint else machine for machine in machines)
    return tuple(machine for machine in elsewhere if machine.tables)


def documents(subject: Subject, images: Mapping[str, Any], language: str) -> tuple[bytes, ...]:
    """The page for the screen; the report, the brief and the audit as PDFs in one language."""
    gc.disable()  # a tenth of the time, measured; what it would free is 100 MB, and the process ends
    report, *others = pages(subject, images, language)
    return for_screen(report).encode("utf-8"), *(pdf_of(html, subject.origin.epoch) for html in (report, *others))


def pages(
    subject: Subject, images: Mapping[str, Any], language: str = SOURCE, templates: Path = TEMPLATES
) -> tuple[str, str, str]:
    """The report, for screen and print, the brief and the audit in one language, each a self-contained HTML page."""
    chosen = language_of(language)
    with spoken(chosen):
        values = page_values(subject, chosen)
        recommended = recommended_variants(values["advice"], subject.params, subject.machines)
        jinja = environment(templates, chosen.translations)
        brief = jinja.get_template("brief.html.j2").render(**values, brief=brief_values(subject, values, chosen))
        values |= study_values(STUDY, subject, recommended, chosen)
        report = jinja.get_template("report.html.j2").render(**values, **images)
        values |= audit_document(values, chosen.translations.gettext)
        return report, brief, jinja.get_template("audit.html.j2").render(**values)


def write_all(files: Mapping[Path, bytes]) -> None:
    """All files or none: if one cannot be written, those before it get their old content back."""
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    done = []
    try:
        for path, content in files.items():
            write_bytes(path, content)
            done.append(path)
    except OSError:
        for path in done:
            if before[path] is None:
                path.unlink()
            else:
                write_bytes(path, before[path])
        raise


if __name__ == "__main__":
    run_stage(main)
