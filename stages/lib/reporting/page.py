"""Everything that the templates are filled with, but for images and what the room `study` adds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from gettext import NullTranslations
from pathlib import Path
from typing import Any

from stages.lib.formats.shared.executed_work import EXECUTED_DTYPES, by_operator, shares, throughput
from stages.lib.project import lineage
from stages.lib.project.params import Params
from stages.lib.project.prompts import Prompt
from stages.lib.quality.figures import AVERAGED
from stages.lib.quality.metrics import METRICS, Metric
from stages.lib.quality.variant_answers import QUESTIONS
from stages.lib.reporting import outline, quality_tables
from stages.lib.reporting.charts import illustrations
from stages.lib.reporting.charts.canvas import Chart
from stages.lib.reporting.charts.denoiser_chart import denoiser_chart
from stages.lib.reporting.charts.formulas import FORMULAS, formula
from stages.lib.reporting.charts.result_charts import result_charts
from stages.lib.reporting.charts.rounded_weight import largest_weight, round_weight
from stages.lib.reporting.charts.sensitivity_charts import SHOWN_LAYERS, sensitivity_charts
from stages.lib.reporting.denoising import denoising_values
from stages.lib.reporting.languages import Language, Translate
from stages.lib.reporting.origin import Origin
from stages.lib.reporting.other_models import other_models_values
from stages.lib.reporting.outline import OF_SPARING
from stages.lib.reporting.recommendations import advice, costs, main_cost, tradeoff
from stages.lib.reporting.spared_layers import sparing_rows, sparing_words
from stages.lib.reporting.tuned_formats import tuned_formats
from stages.lib.reporting.words import quality_words
from stages.lib.reporting.words.answer import answer
from stages.lib.reporting.words.answer_box import answer_box
from stages.lib.reporting.words.clock_words import disturbances, imprecise, trust
from stages.lib.reporting.words.coverage import coverage, coverage_sentence, left_sentence
from stages.lib.reporting.words.explanation import explain, explained_variants
from stages.lib.reporting.words.names import NAMES, names_of, translated
from stages.lib.reporting.words.scale_words import scale_sentences
from stages.lib.reporting.words.what_runs_words import what_runs_table
from stages.lib.results.candidates import RUNTIME_MIB
from stages.lib.results.machines import Machine, compare_machines, machine_title
from stages.lib.results.other_models import ComparedModel, Missing, this_model
from stages.lib.results.records import Results


@dataclass(frozen=True)
class Subject:
    """What a report is about. Figure 2 shows weights of the model in the folder `base`; `quick`: a first look.

    `images` is the folder with one folder of images per variant.
    """

    params: Params
    results: Results
    prompts: Sequence[Prompt]
    images: Path
    machines: tuple[Machine, ...]
    base: Path
    origin: Origin
    quick: bool = False
    others: tuple[ComparedModel | Missing, ...] = ()  # models of report.compare


def page_values(subject: Subject, language: Language) -> dict[str, Any]:
    """The values of every template, in the language, which must be spoken (`languages.spoken`)."""
    params, results, machines, prompts = subject.params, subject.results, subject.machines, subject.prompts
    translations = language.translations
    _ = translations.gettext
    comparisons = compare_machines(machines, results, params.model)
    machine_tables = len(comparisons) + sum(machine.tables for machine in machines)
    models = other_models_values(this_model(results, params), subject.others, params, _)
    denoisers = denoiser_chart([row for machine in machines for row in machine.denoisers], _)
    spared = results.sensitivity.get("layers", {}).get("sparing")
    without = {*models.pop("without"), *(() if denoisers else ("chart-denoisers",)), *(() if spared else OF_SPARING)}
    numbers = outline.numbers(_, results.illustrated, machine_tables, subject.quick, without)
    sections = outline.sections(_, results.illustrated, bool(machines), subject.quick, without)
    recommended = advice_values(subject, translations)
    explained = explained_variants(results)
    work = [row for result in results.variants for row in result.work]
    return {
        "language": language.code,
        "params": params,
        "results": results,
        "origin": subject.origin,
        "quick": subject.quick,
        "prompts": prompts,
        "study_prompts": [prompt for prompt in prompts if prompt.set == "study"],
        "answer": answer(results, translations),
        "sections": sections,
        "report_sections": sections,
        "elsewhere": outline.elsewhere(language.code),
        "numbered_alike": (outline.page_name(language.code),),
        "in_audit": False,
        "numbers": numbers,
        "sources_of": lambda key: with_prompts(lineage.sources_of(key, params.model), params),
        "lineage": {with_prompts(read, params): keys for read, keys in lineage.grouped(numbers, params.model).items()},
        "files_of_variants": lineage.OF_VARIANTS,
        "single_files": [source.of(params.model) for source in lineage.SINGLE],
        **{f"{kind}_names": names_of(kind, _) for kind in NAMES},
        **denoising_values(subject.base, params, results.baseline.generated, _),
        "machines": machines,
        "comparisons_of_machines": comparisons,
        "metrics": {key: _in_words(metric, _) for key, metric in METRICS.items()},
        "instrumented": instrumented_images(results),
        "timed_pairs": len(results.baseline.timing["calls"]) // 2,
        "suspect": results.clock.is_suspect,
        "trust_of": lambda model: trust(model.clock, model.baseline, _),
        "imprecise": imprecise(results, _),
        "disturbances": disturbances(results.clock, _),
        "scale_sentences": lambda scale: scale_sentences(scale, _),
        "runtime_mib": RUNTIME_MIB,
        "tuned": tuned_formats(results),
        "pairs": quality_tables.pair_rows(results, prompts),
        "kinds": Counter(prompt.kind for prompt in prompts),
        "coverage": {result.name: coverage(result.size, result.work) for result in results.variants},
        "coverage_sentences": [
            said
            for r in results.variants
            for said in (coverage_sentence(r.label, r.size, r.work, _), left_sentence(r.label, r.size, _))
            if said
        ],
        "executed_dtypes": [dtype for dtype in EXECUTED_DTYPES if dtype in {row.dtype for row in work}],
        "executed_operators": list(by_operator(work)),
        **recommended,
        **models,
        "what_runs": what_runs_table(params, results.environment["machine"], _),
        "explained": explained,
        "explanations": [explain(item, _) for item in explained.values()],
        "throughput": throughput,
        "by_operator": by_operator,
        "shares": shares,
        **(appearance_values(results, _) if results.illustrated else {}),
        **(further_values(results, _) if results.illustrated and not subject.quick else {}),
        **charts(subject, {"tradeoff": recommended["tradeoff"]["chart"], "denoisers": denoisers}, _),
    }


def with_prompts(sources: Iterable[lineage.Source], params: Params) -> tuple[lineage.Source, ...]:
    """The same with the file of prompts that params.yaml names."""
    own = lineage.Source(params.prompts.file)
    return tuple(own if source == lineage.PROMPTS else source for source in sources)


def _in_words(metric: Metric, _: Translate) -> Metric:
    """The metric with its texts in the language of `_`."""
    reference = translated(metric.reference, _)
    return replace(metric, name=_(metric.name), sentence=_(metric.sentence), reference=reference)


def advice_values(subject: Subject, translations: NullTranslations) -> dict[str, Any]:
    """The first page's box, and what the chapter of analysis shows besides components."""
    params, results, _ = subject.params, subject.results, translations.gettext
    found = advice(params, results, subject.machines, _)
    main = next(item for item in found if item.key == params.main_scenario)
    here = machine_title(results.environment)
    own = main.decision.winner if main.source and main.source.machine == here else None
    charged = main_cost(params, results, own.name) if own else None
    return {
        "here": here,
        "box": answer_box(params, results, main, charged, translations),
        "opens": own.name if own else results.baseline.name,  # what the viewer shows first
        "tradeoff": tradeoff(results, _),
        "advice": found,
        "costs": costs(params, results),
    }


def charts(subject: Subject, others: Mapping[str, Chart | None], _: Translate) -> dict[str, Any]:
    """What templates show as charts and formulas, and the weight that one of them shows."""
    results = subject.results
    weight = round_weight(*largest_weight(subject.base))
    study_ids = {prompt.id for prompt in subject.prompts if prompt.set == "study"}
    found = result_charts(results, study_ids, _) | {"pipeline": Chart(illustrations.pipeline(_), "")}
    if results.illustrated and not subject.quick:
        found |= quality_tables.trajectory_chart(results, _) | sensitivity_charts(results.sensitivity, _)
    found |= {name: drawn for name, drawn in others.items() if drawn}
    return {
        "charts": found,
        "formulas": {name: formula(name, _) for name in FORMULAS},
        "rounding": Chart(illustrations.rounding(weight, _), ""),
        "weight": weight,
    }


def appearance_values(results: Results, _: Translate) -> dict[str, Any]:
    """What the chapters about quality, looks, safety checker and controls show besides the rows of the variants."""
    words, measures = quality_words, {item.name: item.appearance["measures"] for item in results.variants}
    return {
        "measure_digits": words.measure_digits(),
        "damage_words": {name: words.damage_words(item, _) for name, item in measures.items()},
        "rating_words": {item.name: words.rating_words(item.quality, _) for item in results.others},
        "primary_questions": list(QUESTIONS),
        "interval_counts": quality_tables.interval_counts(results),
    }


def further_values(results: Results, _: Translate) -> dict[str, Any]:
    """What the further measurements of quality show besides the rows of the variants."""
    tables, steps, places = quality_tables, results.sensitivity["steps"], results.sensitivity["components"]["formats"]
    layers = results.sensitivity["layers"]
    spared = sparing_rows(layers, _)
    blame = (quality_words.blame_words(item["probe_points"]["image"], item["label"], _) for item in places)
    return {
        "comparison_rows": tables.comparison_rows(results),
        "sets_rows": tables.sets_rows(results, _),
        "floor_runs": tables.floor_runs(results, _),
        "distances": (*AVERAGED, "feature_cosine"),
        "below_rerun": {result.name: tables.below_rerun_db(result.quality, results.floor) for result in results.others},
        "comparison_counts": tables.comparison_counts(results),
        "blame_words": [sentence for sentence in blame if sentence],
        "steps_words": [quality_words.steps_words(item, steps["calls"], _) for item in steps["formats"]],
        "shown_layers": SHOWN_LAYERS,
        "sparing_rows": spared,
        "sparing_words": sparing_words(spared, results, _),
        "budget_words": quality_words.budget_words(layers["layers"], layers["budgets"], _),
    }


def instrumented_images(results: Results) -> int:
    """How many images were generated with a clock around each network; 0 if no variant was timed."""
    rows = (row for result in results.variants if result.timed for row in result.timing["components"])
    return next((row["n"] // row["calls_per_image"] for row in rows), 0)
