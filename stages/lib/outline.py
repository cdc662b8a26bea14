"""The order of the report: which sections, tables, figures and charts it has, and the numbers they bear.

Tables 1 to 9 and figures 1 to 3 have the numbers of the study; what it did not have are charts, tables that come after
those, and tables named after their appendix.
"""

from dataclasses import dataclass

from stages.lib.charts import Translate


@dataclass(frozen=True)
class Section:
    """A heading: `number` is '2.1' or 'A', `level` is 1 or 2."""

    key: str
    number: str
    title: str
    level: int


TABLES = ("machine", "formats", "prompts", "sizes", "overhead", "performance", "quality", "kinds")
TABLES += ("appearance", "safety", "controls", "detection", "coverage", "why")
FIGURES = ("grid", "rounding", "visual")
CHARTS = ("pipeline", "sizes", "speed", "split", "psnr", "calls")
APPENDIX_TABLES = {"audit": "A1", "samples": "B1", "all-prompts": "C1", "measures": "D1", "software": "E1"}


def numbers(_: Translate) -> dict[str, str]:
    """The caption word and number of each table, figure and chart by its key, such as 'table-sizes': 'Table 4'."""
    found = {f"table-{key}": _("Table %(number)s") % {"number": n} for n, key in enumerate(TABLES, 1)}
    found |= {f"table-{key}": _("Table %(number)s") % {"number": n} for key, n in APPENDIX_TABLES.items()}
    found |= {f"figure-{key}": _("Figure %(number)s") % {"number": n} for n, key in enumerate(FIGURES, 1)}
    found |= {f"chart-{key}": _("Chart %(number)s") % {"number": n} for n, key in enumerate(CHARTS, 1)}
    return found


def sections(_: Translate) -> dict[str, Section]:
    """Every heading by its key, in the order of the report."""
    chapters = (
        ("summary", _("In short"), ()),
        (
            "theory",
            _("Theory"),
            (
                ("theory-quantization", _("Affine quantization")),
                ("theory-diffusion", _("Diffusion")),
                ("theory-metrics", _("Measures of quality")),
            ),
        ),
        (
            "method",
            _("Method"),
            (
                ("method-machine", _("Machine and software")),
                ("method-pipeline", _("Architecture of the experiment")),
                ("method-formats", _("Formats")),
                ("method-measuring", _("How size, time and memory are measured")),
                ("method-prompts", _("Prompts and generation")),
            ),
        ),
        (
            "results",
            _("Results"),
            (
                ("results-size", _("Size")),
                ("results-speed", _("Speed and memory")),
                ("results-quality", _("Quality")),
                ("results-appearance", _("What it looks like")),
                ("results-safety", _("Safety checker")),
                ("results-controls", _("Controls")),
                ("results-coverage", _("What INT8 really is: coverage")),
                ("results-why", _("Why a format is fast or slow")),
                ("results-visual", _("Visual comparison")),
            ),
        ),
        ("limits", _("Limits of this measurement"), ()),
    )
    appendices = (
        ("audit", _("Audit of the earlier study")),
        ("timings", _("How the timings were taken")),
        ("all-prompts", _("All prompts")),
        ("measures", _("What the figures mean")),
        ("software", _("Software")),
        ("references", _("References")),
    )
    found = []
    for number, (key, title, parts) in enumerate(chapters, 1):
        found.append(Section(key, str(number), title, 1))
        found += [Section(part, f"{number}.{n}", name, 2) for n, (part, name) in enumerate(parts, 1)]
    found += [Section(key, letter, title, 1) for letter, (key, title) in zip("ABCDEF", appendices, strict=True)]
    return {section.key: section for section in found}
