"""Timing processes that are started ahead and stay: many variants load and compile at once, and one is timed alone.

What `stages.benchmark` measures is the same, with two differences: the first image was generated while other variants
were made ready, and one process of the baseline serves all variants.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.benchmark import ROLES, batch_times, task_of, timing_report
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.project.memory import check_memory
from stages.lib.timing.process import TimingProcess
from tools.project import Project


class Session:
    """A timing process of one variant. `start` loads it and generates the first image, and waits until that is done."""

    def __init__(self, project: Project, variant: str) -> None:
        models, noise = project.run / "models", project.run / "noise.safetensors"
        self.project = project
        self.task = task_of(project.plan.params, variant, models, noise, project.environment["threads"])
        self.process = TimingProcess(self.task, project.path)
        self.first: dict[str, Any] = {}
        self.executed: dict[str, Any] | None = None
        self._begun = False

    def start(self) -> None:
        """Too little memory, a mistake of the user, or the end of the process, is a UserError."""
        if self.task.device == "cpu":
            variant = self.project.plan.params.variant(self.task.variant)
            check_memory(loaded_bytes(Path(self.task.folder), variant), f"timing {variant.label}")
        self._begun = True
        self.process.__enter__()
        self.process.wait()
        self.process.load()
        self.first = self.process.ask("call")

    @property
    def ready(self) -> bool:
        """Whether the first image has been generated."""
        return bool(self.first)

    def kill(self) -> None:
        """End the process, if it was begun; who waits for its answer is told."""
        if self._begun:
            self.process.kill()

    def close(self) -> None:
        """End the process, if it was begun, and let go of what belongs to it."""
        if self._begun:
            self.process.close()

    @contextmanager
    def as_new(self) -> Iterator["NewProcess"]:
        """The process as it was before its first image."""
        yield NewProcess(self)


class NewProcess:
    """Answers as a TimingProcess that was started a moment ago; the session goes on when it is closed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._generated = False
        self.loaded = session.process.loaded
        self.load_time_s = session.process.load_time_s

    def ask(self, action: str, **options: int) -> dict[str, Any]:
        """As a TimingProcess; the first call is the one that was made ahead, and work is counted only once."""
        session = self._session
        if action == "call" and not self._generated:
            self._generated = True
            return session.first
        if action == "executed":
            session.executed = session.executed or session.process.ask(action)
            return session.executed
        return session.process.ask(action, **options)

    def wait(self) -> None:
        """Nothing: the libraries were imported ahead."""

    def load(self) -> None:
        """Nothing: the model was loaded ahead."""

    def close(self) -> None:
        """Nothing."""


def time_alone(variant: Session, baseline: Session) -> dict[str, Any]:
    """What reports/timing says of a variant, without batches. Nothing else should run meanwhile."""
    params = variant.project.plan.params
    chosen = params.variant(variant.task.variant)
    single = params.benchmark.model_copy(update={"batch_sizes": ()})
    sessions = iter((variant, baseline))  # in the order of ROLES, in which they are started
    report = timing_report(
        params.model_copy(update={"benchmark": single}),
        dict(zip(ROLES, (chosen, params.variant(params.baseline)), strict=True)),
        dict(zip(ROLES, (variant.task, baseline.task), strict=True)),
        variant.project.environment,
        lambda _: next(sessions).as_new(),
    )
    return {"variant": chosen.name, "label": chosen.label, **report}


def time_batches(session: Session, report: dict[str, Any]) -> dict[str, Any]:
    """`report` with the batches of params.yaml, each repeated as often as single images were."""
    repeats = sum(call["role"] == "variant" for call in report["calls"])
    sizes = session.project.plan.params.benchmark.batch_sizes
    return {**report, "batches": [batch_times(session.process, size, repeats) for size in sizes]}
