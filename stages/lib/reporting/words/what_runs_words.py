"""Which format runs on which machine, in words: as a table of the report, and as text for a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.lib.project.params import Params
from stages.lib.reporting.languages import N_, Translate
from stages.lib.reporting.words.obstacle_words import obstacle_words
from stages.lib.results.what_runs import CANNOT, FOREIGN, NO_GAIN, ON_ITS_CPU, RUNS, SOURCES, shown_variants, what_runs

STATES = {
    RUNS: N_("faster arithmetic"),
    NO_GAIN: N_("runs"),
    CANNOT: N_("cannot"),
    ON_ITS_CPU: N_("on its CPU"),
}
LEGEND = N_(
    "“Faster arithmetic”: the machine has instructions for the products of this format, beyond those for FP32. “Runs”: "
    "it has none, or the format computes in FP32; what it gains is memory."
)
REASONS = {
    "blackwell": N_("needs a GPU of compute capability 10.0 or more (Blackwell); no back end here makes it"),
    "not_hopper": N_("needs a GPU of the generations Turing, Ampere, Ada or Blackwell; its library is not on PyPI"),
    "not_on_pypi": N_("needs an NVIDIA GPU and NVIDIA's own libraries, which PyPI does not have"),
    "your_own": N_("GPL-3.0, so left to you: `pip install sdnq`, and paste its variants from README.md"),
    "macos": N_("needs macOS, and a model converted by coremltools"),
}
HERE = N_("this machine")


@dataclass(frozen=True)
class WhatRuns:
    """A table: the machines' names, the states of each format there, and notes: who says so, what cannot run, and why.

    `states` has the words of each state.
    """

    states: Mapping[str, str]
    machines: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def what_runs_table(params: Params, machine: Mapping[str, Any], _: Translate) -> WhatRuns:
    """The table in the language of `_`; `machine` is that part of environment.json."""
    cards, verdicts = what_runs(params, machine)
    variants = shown_variants(params)
    obstacles: dict[str, list[str]] = {}
    for name, row in verdicts.items():
        for words in sorted({obstacle_words(found.obstacle, _) for found in row if found.obstacle}):
            obstacles.setdefault(words, []).append(variants[name].label)
    said = sorted({found.source for row in verdicts.values() for found in row if found.source})
    return WhatRuns(
        states={state: _(words) for state, words in STATES.items()},
        machines=(_(HERE), *(card.label for card in cards[1:])),
        rows=tuple((variants[name].label, tuple(found.state for found in row)) for name, row in verdicts.items()),
        notes=(
            _(LEGEND),
            *(f"{', '.join(labels)}: {words}" for words, labels in obstacles.items()),
            *(f"{item.label}: {_(REASONS[item.reason])} ({SOURCES[item.source]})" for item in FOREIGN),
            *(SOURCES[key] for key in said),
        ),
    )


def what_runs_text(params: Params, machine: Mapping[str, Any]) -> str:
    """The table for a terminal, a line a format, in English."""
    table = what_runs_table(params, machine, str)
    lines = [("", table.machines), *((label, [table.states[state] for state in row]) for label, row in table.rows)]
    first, *widths = (
        max(map(len, column)) + 2 for column in zip(*([label, *row] for label, row in lines), strict=True)
    )
    drawn = [
        f"{label:{first}}" + "".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        for label, cells in lines
    ]
    return "\n".join([*(line.rstrip() for line in drawn), "", *table.notes])
