"""How far is a run of the pipeline, and how long may the rest take? Estimated from what the stages took last time."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.stage import Stage
    from networkx import DiGraph


TRUSTED_S = 60  # so much of last time must have been done again to count as much as last time itself


class Progress:
    """`steps`: all stages, in the order in which DVC looks at them; `graph` leads from each to those before it.

    `times` are seconds by stage; those that this run measures replace them.
    """

    def __init__(self, steps: list["Stage"], graph: "DiGraph", times: dict[str, float]) -> None:
        self.steps, self.graph, self.times = steps, graph, times
        self._last = dict(times)
        self._measured: dict[str, float] = {}
        self._outdated: set[Stage] | None = None

    def begin(self, stage: "Stage") -> str:
        """To be told before `stage` runs: its number, its name and what is left."""
        place = self.steps.index(stage)
        line = f"[{place + 1}/{len(self.steps)}] {stage.addressing}"
        self._began_s = time.monotonic()
        if stage.always_changed:  # they take a second, and mostly nothing follows
            return line
        if self._outdated is None:
            self._outdated = outdated(self.steps[place:], self.graph)
        left = [step.addressing for step in self.steps[place:] if step in self._outdated]
        left_s = time_left(left, self._last, self._measured)
        return f"{line}, about {in_words(left_s)} left" if left_s else line

    def end(self, stage: "Stage") -> None:
        """`stage` ended well."""
        if not stage.always_changed:
            self.times[stage.addressing] = self._measured[stage.addressing] = time.monotonic() - self._began_s


def outdated(steps: Sequence["Stage"], graph: "DiGraph") -> set["Stage"]:
    """Those that run if the first one does and changes what it writes, as each after it may."""
    found = {steps[0]}
    with steps[0].repo.lock:  # DVC lets go of it while a command runs
        for step in steps[1:]:
            if found.intersection(graph.successors(step)) or step.changed():
                found.add(step)
    return found


def time_left(stages: Iterable[str], last: Mapping[str, float], measured: Mapping[str, float]) -> float:
    """Seconds that `stages` take: as last time, or as others of their kind did, times what this run was slower by.

    The factor is that of stages of the same kind (`generate@fp16` is of the kind `generate`), else of all. A few
    seconds tell little of it: what takes one may take three when the machine has just begun.
    """
    return sum(_expected(stage, last) * _factor(stage, last, measured) for stage in stages)


def _expected(stage: str, last: Mapping[str, float]) -> float:
    if stage in last:
        return last[stage]
    alike = [seconds for other, seconds in last.items() if _kind(other) == _kind(stage)]
    return sum(alike) / len(alike) if alike else 0.0


def _factor(stage: str, last: Mapping[str, float], measured: Mapping[str, float]) -> float:
    alike = {other: seconds for other, seconds in measured.items() if _kind(other) == _kind(stage)}
    for done in (alike, measured):
        expected = sum(_expected(other, last) for other in done)
        if expected:
            return (sum(done.values()) + TRUSTED_S) / (expected + TRUSTED_S)
    return 1.0


def _kind(stage: str) -> str:
    return stage.partition("@")[0]


def in_words(seconds: float) -> str:
    """Whole minutes, or tens of seconds if it is less than two minutes."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(10, 10 * round(seconds / 10))} s"
