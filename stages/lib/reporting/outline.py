"""The order of the report: which sections, tables, figures and charts it has, and the numbers they bear.

Tables 1 to 15 and figures 1 to 3 have the numbers of the study, whether or not this report has all of them; what it did
not have are charts, tables from 16 on, and tables named after their appendix.
"""

from collections.abc import Collection
from dataclasses import dataclass

from stages.lib.reporting.languages import SOURCE, Translate


@dataclass(frozen=True)
class Section:
    """A heading: `number` is '2.1' or 'A', `level` is 1 or 2."""

    key: str
    number: str
    title: str
    level: int


ANALYSIS = ("tradeoff", "components", "recommendations", "costs")
SENSITIVITY = ("probe_points", "budgets", "sparing")
QUALITY = ("floor", "distances", "alignment", "sets", "comparisons")
APPEARANCE = ("appearance", "safety", "controls")
# The study's tables in its order: a key's place is its number, also where another table of the study is left out.
STUDY_TABLES = ("machine", "formats", "prompts", "sizes", "overhead", "performance", "quality", "kinds", "appearance")
STUDY_TABLES += (*ANALYSIS, "future", "prospects")
# Those the study lacks, in the order of this report: numbered on from there.
QUALITY_TABLES = ("floor", "distances", "agreement", "alignment", "sets", "comparisons")
OTHER_TABLES = ("formulas", "primary", *QUALITY_TABLES, "safety", "controls", "detection", "coverage", "why")
MODELS = ("models", "models-formats", "models-damage", "models-kinds", "models-rules", "models-uses")
TABLES = STUDY_TABLES + OTHER_TABLES + SENSITIVITY + ("what-runs",) + MODELS
SENSITIVITY_CHARTS = ("shares", "steps", "blocks", "layers", "sparing")
# What a report leaves out whose record of layers is older than that.
OF_SPARING = {"results-sparing", "table-sparing", "chart-sparing"}
FIGURES = ("grid", "rounding", "visual")
CHARTS = ("pipeline", "sizes", "speed", "split", "psnr", "tradeoff", "shares", "trajectory", "steps", "blocks")
CHARTS += ("layers", "sparing", "calls", "denoisers", "models")
APPENDIX_TABLES = {
    "audit": ("audit",),
    "architectures": ("architecture-sizes", "architecture-overhead"),
    "timings": ("samples",),
    "all-prompts": ("all-prompts",),
    "measures": ("measures",),
    "software": ("software",),
    "lineage": ("lineage", "lineage-files"),
}
# What a report without images leaves out.
OF_IMAGES = {
    *("results-visual", "all-prompts"),
    *(f"results-{key}" for key in (*QUALITY, *APPEARANCE, "trajectory", "sensitivity", "sparing")),
    *("table-prompts", "table-quality", "table-kinds", "table-all-prompts"),
    *("analysis-components", "table-tradeoff", "table-components", "table-recommendations", "chart-tradeoff"),
    *(f"table-{key}" for key in ("primary", *QUALITY_TABLES, *APPEARANCE, "detection", *SENSITIVITY)),
    *(f"chart-{key}" for key in SENSITIVITY_CHARTS),
    *("figure-grid", "figure-visual", "chart-psnr", "chart-trajectory"),
}
# What a quick look leaves out: what takes long to measure, and what is compared with it.
OF_LONG_RUNS = {
    *(f"results-{key}" for key in (*QUALITY, "safety", "controls", "trajectory", "sensitivity", "sparing")),
    *(f"table-{key}" for key in (*QUALITY_TABLES, "safety", "controls", "detection", "components", *SENSITIVITY)),
    *(f"chart-{key}" for key in ("trajectory", *SENSITIVITY_CHARTS)),
    "analysis-components",
}
# What a report leaves out that has no other model's records to compare, and the whole chapter where none is asked for.
OF_MODELS = {"chart-models", "models-formats", "models-damage", "models-advice", *(f"table-{key}" for key in MODELS)}
MODELS_CHAPTER = {"models", *OF_MODELS}


# What the printed report leaves to another document: sections, and with them tables and charts.
AUDIT = ("theory-study", "future", "prospects", "audit", "figure-rounding", "table-formulas", "table-future")
AUDIT += ("table-prospects",)
PAGE = ("theory", "theory-quantization", "theory-diffusion", "theory-metrics", "results-comparisons", "architectures")
PAGE += ("timings", "all-prompts", "measures", "software", "lineage", "table-comparisons", "table-models-formats")
PAGE += ("table-models-damage", "table-models-kinds", "table-agreement")
PAGE += ("method-pipeline", "results-trajectory")
PAGE += ("chart-pipeline", "chart-sizes", "chart-speed", "chart-split", "chart-psnr", "chart-trajectory")
PAGE += ("chart-blocks", "chart-calls", "chart-sparing")


def elsewhere(language: str) -> dict[str, str]:
    """The document with it, by the key of each section, table and chart that the printed report does not have."""
    found = dict.fromkeys(AUDIT, f"audit{_suffix(language)}.pdf")
    found |= dict.fromkeys(PAGE, page_name(language))
    tables = ((section, f"table-{key}") for section, keys in APPENDIX_TABLES.items() for key in keys)
    return found | {table: found[section] for section, table in tables}


def page_name(language: str) -> str:
    """The page for the screen, which has every section under the number that the report gives it."""
    return f"report{_suffix(language)}.html"


def document_with(key: str, language: str) -> str:
    """The document with a section, table or chart."""
    return elsewhere(language).get(key, f"report{_suffix(language)}.pdf")


def _suffix(language: str) -> str:
    return "" if language == SOURCE else f".{language}"


def left_out(illustrated: bool, quick: bool) -> set[str]:
    """The sections, tables, figures and charts that a report does not have."""
    return (set() if illustrated else OF_IMAGES) | (OF_LONG_RUNS if quick else set())


def numbers(
    _: Translate, illustrated: bool, machine_tables: int = 0, quick: bool = False, without: Collection[str] = ()
) -> dict[str, str]:
    """The caption word and number of each table, figure and chart by its key, such as 'table-sizes': 'Table 4'.

    `without`: keys of what there is nothing for.
    """
    found, absent = {}, left_out(illustrated, quick).union(without)
    for kind, word, keys in (
        ("table", _("Table %(number)s"), TABLES),
        ("figure", _("Figure %(number)s"), FIGURES),
        ("chart", _("Chart %(number)s"), CHARTS),
    ):
        numbered = [(n, f"{kind}-{key}") for n, key in enumerate(keys, 1)]
        there = [(n, key) for n, key in numbered if key not in absent]
        fixed = len(STUDY_TABLES) if kind == "table" else 0  # a number of the study that is not used stays free
        found |= {key: word % {"number": n} for n, key in there if n <= fixed}
        rest = [key for n, key in there if n > fixed]
        found |= {key: word % {"number": n} for n, key in enumerate(rest, fixed + 1)}
    # those of other machines, of which there may be none
    found |= {f"table-machine-{n}": _("Table %(number)s") % {"number": f"M{n}"} for n in range(1, machine_tables + 1)}
    letters = {key: section.number for key, section in sections(_, illustrated, quick=quick).items()}
    for section, keys in APPENDIX_TABLES.items():
        if section in letters:
            for n, key in enumerate(keys, 1):
                found[f"table-{key}"] = _("Table %(number)s") % {"number": f"{letters[section]}{n}"}
    return found


def sections(
    _: Translate,
    illustrated: bool,
    other_machines: bool = False,
    quick: bool = False,
    without: Collection[str] = MODELS_CHAPTER,
) -> dict[str, Section]:
    """Every heading by its key, in the order of the report, but those of `without`."""
    headings = (
        (1, "summary", _("In short")),
        (1, "theory", _("Theory")),
        (2, "theory-quantization", _("Affine quantization")),
        (2, "theory-diffusion", _("Diffusion")),
        (2, "theory-metrics", _("Measures of quality")),
        (2, "theory-study", _("The study's formulas")),
        (1, "method", _("Method")),
        (2, "method-machine", _("Machine and software")),
        (2, "method-pipeline", _("Architecture of the experiment")),
        (2, "method-formats", _("Formats")),
        (2, "method-measuring", _("How size, time and memory are measured")),
        (2, "method-prompts", _("Prompts and generation")),
        (1, "results", _("Results")),
        (2, "results-size", _("Size")),
        (2, "results-speed", _("Speed and memory")),
        (2, "results-quality", _("Quality")),
        (2, "results-appearance", _("What it looks like")),
        (2, "results-visual", _("Visual comparison")),
        (1, "analysis", _("Analysis and advice")),
        (2, "analysis-tradeoff", _("Trade-off between cost and quality")),
        (2, "analysis-components", _("Which component decides")),
        (2, "analysis-advice", _("Which format to choose")),
        (2, "analysis-cost", _("What it costs")),
        (1, "further", _("Further measurements")),
        (2, "results-floor", _("Run-to-run variability")),
        (2, "results-distances", _("How far the images are")),
        (2, "results-alignment", _("Prompt alignment")),
        (2, "results-sets", _("The images as a set")),
        (2, "results-trajectory", _("Where along the denoising formats part")),
        (2, "results-comparisons", _("Every two formats, image by image")),
        (2, "results-safety", _("Safety checker")),
        (2, "results-controls", _("Controls")),
        (2, "results-coverage", _("What INT8 really is: coverage")),
        (2, "results-why", _("Why a format is fast or slow")),
        (2, "results-sensitivity", _("Where the damage comes from")),
        (2, "results-sparing", _("Layers to spare")),
        (2, "results-what-runs", _("What runs where")),
        (2, "results-machines", _("Other machines")),
        (1, "models", _("Another architecture")),
        (2, "models-formats", _("The same formats on both")),
        (2, "models-damage", _("Where the damage sits, and what must be spared")),
        (2, "models-advice", _("Which advice holds for both")),
        (1, "limits", _("Limits of this measurement")),
        (1, "future", _("Future directions")),
        (1, "prospects", _("Prospects of application")),
    )
    appendices = (
        ("audit", _("Audit of the earlier study")),
        ("architectures", _("Exact sizes of published models")),
        ("timings", _("How the timings were taken")),
        ("all-prompts", _("All prompts")),
        ("measures", _("What the figures mean")),
        ("software", _("Software")),
        ("lineage", _("Where the figures come from")),
        ("references", _("References")),
    )
    absent = left_out(illustrated, quick).union(without, () if other_machines else {"results-machines"})
    found, chapter, part = {}, 0, 0
    for level, key, title in (item for item in headings if item[1] not in absent):
        chapter, part = (chapter + 1, 0) if level == 1 else (chapter, part + 1)
        found[key] = Section(key, f"{chapter}.{part}" if part else str(chapter), title, level)
    there = (item for item in appendices if item[0] not in absent)
    for letter, (key, title) in zip("ABCDEFGHIJKLMN", there, strict=False):
        found[key] = Section(key, letter, title, 1)
    return found
