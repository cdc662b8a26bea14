"""Some variants, made ready together and timed one after the other."""

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from stages.benchmark import SIMULATED_REASON
from stages.lib.project.errors import UserError
from stages.lib.project.files import write_json
from stages.lib.project.params import Variant
from tools.machine_folder import MachineFolder
from tools.project import Project
from tools.timing_session import Session, time_alone, time_batches


@dataclass
class Clock:
    """How much time there is, in all and for making a round ready, and how long the longest round has taken."""

    limit_s: float
    ready_limit_s: float
    begin_s: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begin_s

    @property
    def left_s(self) -> float:
        """Seconds to the limit."""
        return self.limit_s - self.elapsed_s

    @property
    def stops(self) -> bool:
        """Whether another round, if it takes as long as the longest did, would end after the limit."""
        return self.longest_s > self.left_s or self.left_s <= 0


@dataclass
class Item:
    """One variant of a project. `left`: it has not been measured, and nothing is wrong with it."""

    project: Project
    name: str
    failure: str | None = None
    left: bool = True
    session: Session | None = None
    report: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """Model and variant."""
        return f"{self.project.plan.model}/{self.name}"

    @property
    def variant(self) -> Variant:
        """What params.yaml says of it."""
        return self.project.plan.params.variant(self.name)

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with it."""
        return self.name == self.project.plan.baseline

    def fails(self, reason: str, folder: MachineFolder) -> None:
        """Remember why it could not be measured."""
        self.failure, self.left = reason, False
        folder.fail(self.project.plan.model, self.name, reason)
        print(f"measure_machine: {self.title}: {reason}", flush=True)

    def keep(self, report: dict[str, Any], folder: MachineFolder) -> None:
        """Store all its results with this timing."""
        self.report, self.left = report, False
        write_json(self.project.path / f"reports/{self.project.plan.model}/timing/{self.name}.json", report)
        folder.keep(self.project.plan, self.name, self.project.path)


def measure_round(
    items: list[Item], baselines: dict[str, Session], folder: MachineFolder, clock: Clock, one_by_one: bool
) -> None:
    """Measure `items`. `baselines` are the sessions of the baseline by model; those that are missing are added."""
    begin_s = clock.elapsed_s
    for item in items:
        if item.failure:
            item.fails(item.failure, folder)
    make_ready([item for item in items if not item.failure], baselines, folder, clock, one_by_one)
    ready = [item for item in items if not item.failure]
    for item in ready:
        if item.session is None:
            simulated = {"variant": item.name, "label": item.variant.label, "measured": False, "calls": []}
            item.keep({**simulated, "reason": SIMULATED_REASON}, folder)
    models = list(baselines)
    timed = sorted(
        (item for item in ready if item.session),
        key=lambda item: (models.index(item.project.plan.model), item.is_baseline),
    )
    longest_s = 0.0
    for item in timed:
        if longest_s > clock.left_s:
            break
        start_s = clock.elapsed_s
        try:
            item.keep(time_alone(item.session, baselines[item.project.plan.model]), folder)
            say(item, clock)
        except UserError as error:
            item.fails(str(error), folder)
        longest_s = max(longest_s, clock.elapsed_s - start_s)
    measure_batches([item for item in timed if item.report], folder, clock)
    for item in items:
        if item.session:
            item.session.close()
        if not item.is_baseline:
            shutil.rmtree(item.project.run / "models" / item.name, ignore_errors=True)
    clock.longest_s = max(clock.longest_s, clock.elapsed_s - begin_s)


def make_ready(
    items: list[Item], baselines: dict[str, Session], folder: MachineFolder, clock: Clock, one_by_one: bool
) -> None:
    """Make the variants, generate with them, start their sessions: all at once, or `one_by_one`.

    What is not ready when the time for it is over is stopped, and its variant fails.
    """
    projects = {item.project.plan.model: item.project for item in items}
    sessions: list[Session] = []

    def start(made: Future, session: Session) -> None:
        made.result()
        sessions.append(session)
        session.start()

    def make_baseline(base: Future, project: Project) -> None:
        base.result()
        project.make_baseline()

    def generate_baseline(made: Future, project: Project) -> None:
        made.result()
        project.generate_baseline()

    def make(base: Future, item: Item) -> None:
        base.result()
        item.project.stage("quantize", item.name)

    def generate(made: Future, generated: Future, item: Item) -> None:
        made.result()
        if not item.is_baseline:
            item.project.stage("generate", item.name)
        generated.result()
        item.project.stage("evaluate", item.name)

    # A task may wait for earlier ones only, so a single thread does them all in this order.
    with ThreadPoolExecutor(1 if one_by_one else 3 * len(items) + 5 * len(projects)) as pool:
        bases = {model: pool.submit(project.prepare) for model, project in projects.items()}
        models = {model: pool.submit(make_baseline, bases[model], project) for model, project in projects.items()}
        started = {}
        for model in [model for model in projects if model not in baselines]:
            baselines[model] = Session(projects[model], projects[model].plan.baseline)
            started[model] = pool.submit(start, models[model], baselines[model])
        generated = {
            model: pool.submit(generate_baseline, models[model], project) for model, project in projects.items()
        }
        made = [
            models[item.project.plan.model]
            if item.is_baseline
            else pool.submit(make, bases[item.project.plan.model], item)
            for item in items
        ]
        tasks: list[list[Future]] = []
        for item, own in zip(items, made, strict=True):
            model = item.project.plan.model
            needed = [own, *filter(None, [started.get(model)])]
            if not item.variant.simulated:
                item.session = Session(item.project, item.name)
                needed.append(pool.submit(start, own, item.session))
            tasks.append([*needed, pool.submit(generate, own, generated[model], item)])
        everything = [future for needed in tasks for future in needed]
        _, late = wait(everything, timeout=min(clock.left_s, clock.ready_limit_s, 10**6))
        if late:
            for project in projects.values():
                project.stop()
            for session in sessions:
                if not session.ready:
                    session.kill()
    for project in projects.values():
        project.go_on()
    for model, future in started.items():
        if _mistake(future):
            baselines.pop(model).close()
    for item, needed in zip(items, tasks, strict=True):
        reasons = [str(error) for future in needed if (error := _mistake(future))]
        if reasons:
            was_late = any(future in late for future in needed)
            item.fails("it was not ready in the time given: " + reasons[0] if was_late else reasons[0], folder)
    ready = ", ".join(item.title for item in items if not item.failure)
    print(f"measure_machine: ready after {clock.elapsed_s:.0f} s: {ready}", flush=True)


def _mistake(future: Future) -> UserError | None:
    """The UserError that a task ended with; any other error is raised."""
    try:
        future.result()
    except UserError as error:
        return error
    return None


def measure_batches(items: list[Item], folder: MachineFolder, clock: Clock) -> None:
    """Add the batches to what is stored: first where nothing must be compiled, then all others, compiled at once."""
    items = [item for item in items if item.project.plan.params.benchmark.batch_sizes]
    compiled = [item for item in items if item.variant.compile_mode]
    for item in items:
        if item not in compiled:
            add_batches(item, folder, clock)
            item.session.close()  # what its process keeps of the GPU's memory, the others may need
    late: set[Future] = set()
    with ThreadPoolExecutor(max(1, len(compiled))) as pool:
        first = {item.title: pool.submit(draw_batches, item) for item in compiled}
        needed_s = sum(batches_s(item) for item in compiled)
        if first:
            _, late = wait(first.values(), timeout=min(max(0, clock.left_s - needed_s), 10**6))
        for item in compiled:
            if first[item.title] in late:
                item.session.kill()
    for item in compiled:
        reason = _mistake(first[item.title])
        if reason:
            item.left = True
            print(f"measure_machine: {item.title}: no batches: {reason}", flush=True)
        else:
            add_batches(item, folder, clock)


def draw_batches(item: Item) -> None:
    """Generate a batch of each size once, which compiles networks for it."""
    for size in item.project.plan.params.benchmark.batch_sizes:
        item.session.process.ask("batch", size=size)


def batches_s(item: Item) -> float:
    """About how many seconds the batches of a variant take, if each image in them takes as long as alone."""
    calls = 1 + len(item.report["calls"]) // 2
    return sum(size * calls * item.report["latency_s"] for size in item.project.plan.params.benchmark.batch_sizes)


def add_batches(item: Item, folder: MachineFolder, clock: Clock) -> None:
    """Time the batches of a variant, if there is time."""
    if batches_s(item) > clock.left_s:
        item.left = True
        return
    try:
        item.keep(time_batches(item.session, item.report), folder)
        say(item, clock)
    except UserError as error:
        print(f"measure_machine: {item.title}: no batches: {error}", flush=True)


def say(item: Item, clock: Clock) -> None:
    """One line of what was just stored."""
    report = item.report
    figures = [f"{report['latency_s']:.4f} s", f"{report['speedup']:.2f}x", f"peak {report['run_peak_mib']:.0f} MiB"]
    figures += [f"first call {report['first_call_s']:.1f} s"]
    for batch in report["batches"]:
        figures.append(f"{batch['latency_per_image_s']['median']:.4f} s by {batch['batch_size']}")
    print(f"measure_machine: {clock.elapsed_s:.0f} s, {item.title}: {', '.join(figures)}", flush=True)
