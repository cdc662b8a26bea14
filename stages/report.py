"""What should a person who was not there know? Render all results as one page for the screen and one PDF for print.

Reads what every other stage wrote; writes report.html and report.pdf, both or none. The same results at the same
commit give the same bytes: dates come from the commit (or SOURCE_DATE_EPOCH), never from the clock.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from functools import partial
from gettext import NullTranslations
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from stages.lib.formats.shared.executed_work import EXECUTED_DTYPES, by_operator, shares, throughput, work_of
from stages.lib.project import lineage
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_bytes
from stages.lib.project.params import COMPONENTS, Params, load_params
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.quality.metrics import METRICS
from stages.lib.reporting import artefact_words, illustrations, outline
from stages.lib.reporting.answer import answer
from stages.lib.reporting.answer_box import answer_box
from stages.lib.reporting.coverage import coverage, coverage_sentence, operator_names
from stages.lib.reporting.document import TEMPLATES, environment, for_screen, pdf_of, uncollected
from stages.lib.reporting.explanation import Explained, explain
from stages.lib.reporting.languages import SOURCE, Language, Translate, language_of, list_of, spoken
from stages.lib.reporting.quality_tables import (
    below_rerun_db,
    comparison_rows,
    floor_runs,
    sets_rows,
    trajectory_chart,
    verdict_names,
)
from stages.lib.reporting.recommendations import advice, costs, main_cost, tradeoff
from stages.lib.reporting.result_charts import Chart, component_names, result_charts
from stages.lib.reporting.rounded_weight import largest_convolution, round_weight
from stages.lib.reporting.screen_images import ScreenImages, images_of, screen_figures
from stages.lib.reporting.sensitivity_charts import sensitivity_charts
from stages.lib.reporting.thumbnails import (
    amplification,
    detail,
    difference_map,
    differences,
    photograph,
    screen_detail,
    screen_map,
    window_of_largest_difference,
)
from stages.lib.results.machines import Machine, compare_machines, load_machines
from stages.lib.results.records import Results, kind_means, load_results
from stages.lib.study.audit import audit
from stages.lib.study.beside import recommended_variants, study_texts
from stages.lib.timing.prediction import Prediction, runs

STUDY = Path("data/study")
IMAGED = 3  # prompts in figures 1 and 3
DETAIL_SHARE = 3  # the enlarged detail is a third of the image wide
# A commit of anything else, such as the README or a test, changes nothing that the report says.
MEASURED_WITH = ("params.yaml", "dvc.yaml", "requirements.txt", "stages", "data")
EARLIEST = 315532800  # 1980-01-01, the date of a report that has neither commit nor SOURCE_DATE_EPOCH

MOST_PAIRS = 30  # rows of a table of every two formats, beyond which only some are printed


@dataclass(frozen=True)
class Origin:
    """Where the report comes from. `commit` is None outside a Git checkout; `epoch` is in seconds."""

    commit: str | None
    modified: bool
    epoch: int

    @property
    def date(self) -> str:
        """The date in UTC, year-month-day."""
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%d")

    @property
    def day(self) -> Date:
        """The same for people, who are shown it in the form of their language."""
        return datetime.fromtimestamp(self.epoch, UTC).date()

    @property
    def dated(self) -> bool:
        """Whether `epoch` means anything."""
        return self.epoch != EARLIEST


def main() -> None:
    """Read, render, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reports", type=Path, required=True, help="folder of all models' results")
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder of images per variant")
    parser.add_argument("--base", type=Path, required=True, help="the base model, whose weights Figure 2 shows")
    parser.add_argument("--html", type=Path, required=True, nargs="+", help="a file for each of report.languages")
    parser.add_argument("--pdf", type=Path, required=True, nargs="+", help="the same in the same order")
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    languages = params.report.languages
    if not len(languages) == len(arguments.html) == len(arguments.pdf):
        raise UserError(
            f"params.yaml: 'report.languages' has {len(languages)} languages, --html {len(arguments.html)} files and "
            f"--pdf {len(arguments.pdf)}: give one of each for each language, in the stage `report` of dvc.yaml"
        )
    pages = in_languages(arguments.reports, arguments.images, arguments.base, languages)
    files = {}
    for html_path, pdf_path, (html, pdf) in zip(arguments.html, arguments.pdf, pages, strict=True):
        files |= {html_path: html, pdf_path: pdf}
    write_all(files)
    sizes = [f"{path} {len(content) / 1024**2:.1f} MiB" for path, content in files.items()]
    print(f"report: {len(params.variants)} variants, {', '.join(sizes)}, {time.perf_counter() - begin_s:.1f} s")


def in_languages(reports: Path, images: Path, base: Path, languages: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """The page and the PDF in each language.

    Charts and layout keep a core busy for seconds: each language has a process of its own. The images are the same in
    all: this process makes them, while the others generate.
    """
    if len(languages) == 1:
        return [documents(reports, images, base, languages[0])]
    with ProcessPoolExecutor(len(languages), _processes()) as pool:
        generated = [pool.submit(charts_of, reports, images, base, language) for language in languages]
        params = load_params()
        shown = page_images(params, load_results(reports, images, params), images)
        work = [
            pool.submit(documents, reports, images, base, language, own.result(), shown)
            for language, own in zip(languages, generated, strict=True)
        ]
        return [item.result() for item in work]


def _processes() -> BaseContext:
    """How processes begin: on Linux as copies of one that has imported everything, elsewhere anew."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.lib.reporting.report_libraries"])
    return context


@uncollected
def charts_of(reports: Path, images: Path, base: Path, language: str) -> dict[str, Any]:
    """`charts` of the results in these folders."""
    params = load_params()
    results = load_results(reports, images, params)
    chosen = language_of(language)
    with spoken(chosen):
        return charts(params, results, base, chosen.translations.gettext)


def documents(
    reports: Path,
    images: Path,
    base: Path,
    language: str,
    generated: dict[str, Any] | None = None,
    shown: dict[str, Any] | None = None,
) -> tuple[bytes, bytes]:
    """The page and the PDF in one language; `generated` and `shown` are made here if not given."""
    params = load_params()
    results = load_results(reports, images, params)
    origin = find_origin()
    machines = other_machines(reports, results.environment["fingerprint"], params.model)
    html = render(
        params, results, images, base, origin, machines=machines, language=language, generated=generated, shown=shown
    )
    return for_screen(html).encode("utf-8"), pdf_of(html, origin.epoch)


def other_machines(reports: Path, fingerprint: str, model: str) -> tuple[Machine, ...]:
    """The machines of reports/machines: of this one, by its `fingerprint`, what it measured besides `model`."""
    machines = load_machines(reports / "machines")
    elsewhere = (machine.without(model) if machine.fingerprint == fingerprint else machine for machine in machines)
    return tuple(machine for machine in elsewhere if machine.models)


def find_origin() -> Origin:
    """The last commit that changed what the report is made with, and whether that differs from it now."""
    sources = ("--", *MEASURED_WITH)
    last = _git("log", "-1", "--format=%H %ct", *sources)
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None and not epoch.isdigit():
        raise UserError(f"SOURCE_DATE_EPOCH has the value '{epoch}': use a whole number of seconds since 1970")
    if not last:
        return Origin(None, False, int(epoch) if epoch else EARLIEST)
    commit, committed = last.split()
    modified = bool(_git("status", "--porcelain", "--untracked-files=no", *sources))
    return Origin(commit, modified, int(epoch or committed))


def _git(*arguments: str) -> str:
    """What a Git command prints; empty where there is no Git or no commit."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


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


@uncollected
def render(
    params: Params,
    results: Results,
    images: Path,
    base: Path,
    origin: Origin,
    templates: Path = TEMPLATES,
    machines: tuple[Machine, ...] = (),
    language: str = SOURCE,
    generated: dict[str, Any] | None = None,
    shown: dict[str, Any] | None = None,
) -> str:
    """The report in one language as one self-contained HTML page, which is also the source of the PDF.

    `generated` (of `charts`) and `shown` (of `page_images`) are made here if not given.
    """
    chosen = language_of(language)
    with spoken(chosen):
        generated = generated or charts(params, results, base, chosen.translations.gettext)
        shown = shown or page_images(params, results, images)
        return _render(params, results, origin, templates, machines, chosen, generated, shown)


def _render(
    params: Params,
    results: Results,
    origin: Origin,
    templates: Path,
    machines: tuple[Machine, ...],
    chosen: Language,
    generated: dict[str, Any],
    images: dict[str, Any],
) -> str:
    language, translations = chosen.code, chosen.translations
    _ = translations.gettext
    prompts = _prompts(params)
    explained = explained_variants(results)
    recommended = advice_figures(params, results, machines, translations)
    if recommended["tradeoff"]["chart"]:
        generated["charts"]["tradeoff"] = recommended["tradeoff"]["chart"]
    winners = {item.key: item.decision.winner.name for item in recommended["advice"] if item.decision.winner}
    comparisons = compare_machines(machines, results, params.model)
    numbers = outline.numbers(
        _, results.illustrated, len(comparisons) + sum(len(machine.models) for machine in machines)
    )
    jinja = environment(templates, translations)
    return jinja.get_template("report.html.j2").render(
        language=language,
        params=params,
        results=results,
        origin=origin,
        prompts=prompts,
        study_prompts=[prompt for prompt in prompts if prompt.set == "study"],
        answer=answer(results, translations, list_of),
        sections=outline.sections(_, results.illustrated, bool(machines)),
        numbers=numbers,
        sources_of=partial(lineage.sources_of, model=params.model),
        lineage=lineage.grouped(numbers, params.model),
        files_of_variants=lineage.OF_VARIANTS,
        single_files=[source.of(params.model) for source in lineage.SINGLE],
        machines=machines,
        comparisons_of_machines=comparisons,
        components=component_names(_),
        metrics=METRICS,
        components_count=len(COMPONENTS),
        instrumented=instrumented_images(results),
        timed_calls=results.baseline.measurement("latency_s").n,
        pairs=pair_rows(results, prompts),
        kinds=kind_counts(prompts),
        audit=audit(STUDY, _),
        **study_texts(
            STUDY, params, results, prompts, machines, language, _, recommended_variants(winners, params, machines)
        ),
        probe_point_names=probe_point_names(_),
        coverage={result.name: coverage(result.size, result.work) for result in results.variants},
        coverage_sentences=coverage_sentences(results, _),
        executed_dtypes=executed_dtypes(results),
        operator_names=operator_names(_),
        **recommended,
        explained=explained,
        explanations=[explain(item, _) for item in explained.values()],
        throughput=throughput,
        by_operator=by_operator,
        shares=shares,
        **(quality_figures(results, _) | appearance_texts(results, _) if results.illustrated else {}),
        **generated,
        **images,
    )


def _prompts(params: Params) -> list[Prompt]:
    return load_prompts(Path(params.prompts.file), params.prompts.sets)


def charts(params: Params, results: Results, base: Path, _: Translate) -> dict[str, Any]:
    """What templates show as charts, but for that of the advice, and the weight that one of them shows."""
    study_ids = {prompt.id for prompt in _prompts(params) if prompt.set == "study"}
    weight = round_weight(*largest_convolution(base))
    charts = result_charts(results, study_ids, _) | {"pipeline": Chart(illustrations.pipeline(_), "")}
    if results.illustrated:
        charts |= trajectory_chart(results, _) | sensitivity_charts(results.sensitivity, _)
    return {
        "charts": charts,
        "formulas": {name: illustrations.formula(name, _) for name in illustrations.FORMULAS},
        "rounding": Chart(illustrations.rounding(weight, _), ""),
        "weight": weight,
    }


@uncollected
def page_images(params: Params, results: Results, images: Path) -> dict[str, Any]:
    """What templates show as images, which is the same in every language. Where nothing was generated: no viewer."""
    if not results.illustrated:
        return no_images(results) | {"viewer": None}
    prompts = _prompts(params)
    illustrated = illustrated_prompts(prompts)
    images = images_of(images, [result.name for result in results.variants])
    return image_figures(results, images, illustrated) | screen_figures(results, images, prompts, illustrated)


def advice_figures(
    params: Params, results: Results, machines: tuple[Machine, ...], translations: NullTranslations
) -> dict[str, Any]:
    """The first page's box, and what the chapter of analysis shows besides components."""
    _ = translations.gettext
    recommended = advice(params, results, machines, STUDY, list_of, _)
    main = next(item for item in recommended if item.key == params.main_scenario)
    here = results.environment["machine"]["gpu"] or results.environment["machine"]["cpu"]
    own = main.decision.winner if main.source and main.source.machine == here else None
    charged = main_cost(params, results, own.name) if own else None
    return {
        "here": here,
        "box": answer_box(params, results, main, charged, translations, list_of),
        "tradeoff": tradeoff(results, _),
        "advice": recommended,
        "costs": costs(params, results),
    }


def quality_figures(results: Results, _: Translate) -> dict[str, Any]:
    """What the chapters about quality show besides the rows of the variants."""
    return {
        "floor_runs": floor_runs(results, _),
        "below_rerun": {result.name: below_rerun_db(result.quality, results.floor) for result in results.others},
        "comparison_rows": comparison_rows(results, MOST_PAIRS),
        "verdict_names": verdict_names(_),
        "sets_rows": sets_rows(results, _),
    }


def probe_point_names(_: Translate) -> dict[str, str]:
    """What readers call the places where damage is looked for."""
    return {
        "embeddings": _("embeddings"),
        "latents": _("latents"),
        "image": _("image"),
        "safety": _("safety margin"),
    }


def appearance_texts(results: Results, _: Translate) -> dict[str, Any]:
    """What the chapters on looks, safety checker and controls are written with."""
    words = artefact_words
    return {
        "measure_names": words.measure_names(_),
        "measure_digits": words.measure_digits(),
        "damage_words": {item.name: words.damage_words(item.appearance["measures"], _) for item in results.variants},
        "causes": words.causes(_),
        "control_names": words.control_names(_),
        "expectations": words.expectations(_),
        "damage_names": words.damage_names(_),
    }


def instrumented_images(results: Results) -> int:
    """How many images were generated with a clock around each network; 0 if no variant was timed."""
    rows = (row for result in results.variants if result.timed for row in result.timing["components"])
    return next((row["n"] // row["calls_per_image"] for row in rows), 0)


def coverage_sentences(results: Results, _: Translate) -> list[str]:
    """What the formats that claim INT8 do not do in it."""
    said = [coverage_sentence(result.label, result.size, result.work, _) for result in results.variants]
    return [sentence for sentence in said if sentence]


def executed_dtypes(results: Results) -> list[str]:
    """Every dtype in which some variant multiplies, the narrowest first."""
    found = {row.dtype for result in results.variants for row in result.work}
    return [dtype for dtype in EXECUTED_DTYPES if dtype in found]


def explained_variants(results: Results) -> dict[str, Explained]:
    """Every timed variant but the baseline, with what is predicted of its speed, and why."""
    return {
        result.name: Explained(
            label=result.label,
            baseline=results.baseline.label,
            stored_dtype=result.variant.stored_dtype,
            prediction=Prediction(*runs(result.timing)),
            work=result.work,
            baseline_work=work_of(result.timing["baseline_executed"]),
            runtime=result.runtime,
            runtime_label=results.label(result.runtime.reference) if result.runtime else "",
        )
        for result in results.others
        if result.timed
    }


def illustrated_prompts(prompts: list[Prompt]) -> list[Prompt]:
    """The prompts of figures 1 and 3: the study's, or else the first ones."""
    return ([prompt for prompt in prompts if prompt.set == "study"] or prompts)[:IMAGED]


def kind_counts(prompts: list[Prompt]) -> dict[str, int]:
    """How many prompts there are of each kind, in the order of first appearance."""
    kinds = [prompt.kind for prompt in prompts]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def pair_rows(results: Results, prompts: list[Prompt]) -> list[dict[str, Any]]:
    """Table 8: every two variants with their mean PSNR for each kind of prompt.

    Where that were more than MOST_PAIRS rows, only those with one of the first two variants: the study's columns.
    """
    kinds = {prompt.id: prompt.kind for prompt in prompts}
    first = [result.name for result in results.variants[:2]] if len(results.pairs) > MOST_PAIRS else None
    return [
        {
            "reference": results.label(pair["reference"]),
            "variant": results.label(pair["variant"]),
            "kinds": kind_means(pair, kinds),
            "whole": pair,
        }
        for pair in results.pairs
        if first is None or pair["reference"] in first
    ]


def no_images(results: Results) -> dict[str, Any]:
    """What `image_figures` gives, where nothing was generated but for timing."""
    timing = results.baseline.timing
    return {"comparisons": {}, "image_width": timing["width"], "image_height": timing["height"]}


def image_figures(results: Results, every: ScreenImages, prompts: list[Prompt]) -> dict[str, Any]:
    """Figures 1 and 3: whole images; the detail that differs most; maps of the difference with one factor for all."""
    shown = {prompt.id: {name: images[prompt.id] for name, images in every.items()} for prompt in prompts}
    maps = {
        prompt.id: {
            result.name: differences(shown[prompt.id][results.baseline.name], shown[prompt.id][result.name])
            for result in results.others
        }
        for prompt in prompts
    }
    factor = amplification([item for found in maps.values() for item in found.values()])
    grid, visual, window = [], [], (0, 0, 0)
    screen: dict[str, dict[str, dict[str, str]]] = {"screen_details": {}, "screen_maps": {}}
    for prompt in prompts:
        images = shown[prompt.id]
        height, width, _channels = images[results.baseline.name].shape
        side = min(height, width) // DETAIL_SHARE
        window = window_of_largest_difference(list(maps[prompt.id].values()), side) if results.others else (0, 0, side)
        grid.append((prompt, {name: photograph(image) for name, image in images.items()}))
        details = {name: detail(image, window) for name, image in images.items()}
        generated_maps = {name: difference_map(item, factor) for name, item in maps[prompt.id].items()}
        visual.append((prompt, details, generated_maps))
        screen["screen_details"][prompt.id] = {name: screen_detail(item, window) for name, item in images.items()}
        screen["screen_maps"][prompt.id] = {name: screen_map(item, factor) for name, item in maps[prompt.id].items()}
    comparisons = {
        (result.name, image["id"]): image for result in results.others for image in result.quality["per_image"]
    }
    first = shown[prompts[0].id][results.baseline.name]
    return {
        "grid": grid,
        "visual": visual,
        **screen,
        "factor": factor,
        "detail_side": window[2],
        "comparisons": comparisons,
        "image_width": first.shape[1],
        "image_height": first.shape[0],
    }


if __name__ == "__main__":
    run_stage(main)
