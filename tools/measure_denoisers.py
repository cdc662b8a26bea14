"""Time one call of large models' denoisers on an NVIDIA GPU, in every format beside compiled 16 bits.

`python -m tools.measure_denoisers --plan data/machines/denoisers.yaml` takes denoisers at their true size with random
weights. Each format runs in a process of its own in the settings that the plan gives it; processes compile at once, and
are timed in turns with the control, a format of 16 bits, so that a ratio is of neighbouring moments. Results go to
reports/machines/FINGERPRINT/denoisers.json after every few of them: run it again to go on.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from statistics import median
from typing import Any

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json, rounded, write_json
from stages.lib.project.params import read_yaml
from stages.lib.results.denoisers import RECORD
from stages.lib.results.evidence import seal
from stages.lib.timing.machine import describe
from tools.denoiser_process import serve
from tools.measure_machine import commit_here, describe_in, folder_named

ROUNDS, ROUND_MS, FEWEST, MOST = 3, 250, 4, 30  # turns, what a turn takes about, and its calls
SHOWN = ("latency_ms", "eager_ms", "speedup", "compile_s", "failure")
LATE = "out of time"
PROFILED = 0.9  # below this ratio to the control a row says which kernels its time goes to


def main() -> None:
    """Measure what is missing, say what is left."""
    begin_s = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", type=Path, default=Path("data/machines/denoisers.yaml"))
    parser.add_argument("--output", type=folder_named, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument("--time-limit", type=float, default=1e6, help="seconds after which nothing goes on")
    parser.add_argument("--patience", type=float, default=1e6, help="seconds in which a format is made, or left out")
    parser.add_argument("--commit", default=commit_here(), help="of this code, where Git cannot tell")
    arguments = parser.parse_args()
    plan, environment = read_yaml(arguments.plan), describe()
    if not environment["machine"]["gpu"]:
        raise UserError("PyTorch finds no CUDA device here: denoisers at their true size are measured on a GPU")
    folder = arguments.output / environment["fingerprint"]
    record = Record(folder, environment, arguments.commit)
    context = multiprocessing.get_context("spawn")
    left = []
    for group in plan["groups"]:
        cases = [case for case in (Case(plan, item, record) for item in group) if case.missing]
        left += measure(cases, record, context, begin_s + arguments.time_limit, arguments.patience)
    print(f"measure_denoisers: {folder}, {len(record.rows)} rows, {time.monotonic() - begin_s:.0f} s")
    if left:
        print(f"measure_denoisers: not measured for want of time: {', '.join(left)}; run it again to go on")


class Record:
    """denoisers.json of one machine: rows, each with the commit it was measured at, under one digest."""

    def __init__(self, folder: Path, environment: dict[str, Any], commit: str | None) -> None:
        self.folder, self.commit = folder, commit
        describe_in(folder, environment)
        self.rows = read_json(folder / RECORD)["rows"] if (folder / RECORD).is_file() else []

    def has(self, row: dict[str, Any]) -> bool:
        """Whether a row of that model, batch, format and settings is there, measured or failed."""
        return any(row.items() <= found.items() for found in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, in the place of an earlier one of the same."""
        key = ("model", "batch", "format")
        self.rows = [found for found in self.rows if any(found[name] != row[name] for name in key)]
        self.rows.append({"commit": self.commit, **row})
        content = {"rows": rounded(self.rows)}
        write_json(self.folder / RECORD, {**content, "sha256": seal(content)})
        shown = {name: rounded(row[name], 4) for name in SHOWN if name in row}
        print(f"measure_denoisers: {row['model']}, batch {row['batch']}, {row['format']}: {shown}", flush=True)


class Case:
    """A model's formats beside their control, as the plan has them; `missing` are the rows that are not there yet."""

    def __init__(self, plan: dict[str, Any], item: dict[str, Any], record: Record) -> None:
        self.model = plan["models"][item["model"]]
        self.batches, self.control, self._item, self._plan = item["batches"], item["control"], item, plan
        names = dict.fromkeys([item["control"], *item["formats"]])
        self.missing = [name for name in names if not all(record.has(self.row(name, batch)) for batch in self.batches)]

    def row(self, name: str, batch: int) -> dict[str, Any]:
        """What a row is of."""
        declared = self._plan["formats"][name]
        return {
            "model": self._item["model"],
            "model_label": self.model["label"],
            "batch": batch,
            "format": name,
            "control": self.control,
            "variant": declared["variant"],
            "settings": declared.get("settings", {}),
        }


class Process:
    """A format being made, and then timed: `figures` are what is known of it, `failure` why that ended, or None."""

    def __init__(self, case: Case, name: str, turn: Any, context: Any) -> None:
        self.name, self.failure = name, None
        self.figures: dict[str, Any] = {}
        job = {
            **{key: case.row(name, case.batches[0])[key] for key in ("batch", "variant", "settings")},
            **{key: case.model.get(key, {}) for key in ("path", "inputs", "fixed")},
        }
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, turn, job), daemon=True)
        self._process.start()
        other.close()

    def wait(self, end_s: float) -> None:
        """Until it is made and compiled, or has failed; one that is late would disturb the others, and is ended."""
        self.figures = (self._answer(end_s) or {}).get("ready", {})
        if self.failure:
            self.end()

    def tell(self, *asked: Any) -> None:
        """Ask without waiting for the answer."""
        if self.failure is None:
            self.pipe.send(asked)

    def ask(self, end_s: float, *asked: Any) -> Any:
        """Its answer; None where it has failed."""
        self.tell(*asked)
        return self._answer(end_s)

    def _answer(self, end_s: float) -> Any:
        if self.failure is not None:
            return None
        try:
            answer = self.pipe.recv() if self.pipe.poll(max(0, end_s - time.monotonic())) else {"failure": LATE}
        except EOFError:
            answer = {"failure": "its process ended"}
        if isinstance(answer, dict) and "failure" in answer:
            self.failure = answer["failure"]
            return None
        return answer

    def end(self) -> None:
        """Let its memory go."""
        self._process.kill()
        self._process.join()


def measure(cases: list[Case], record: Record, context: Any, end_s: float, patience_s: float) -> list[str]:
    """Make all formats of `cases` at once, time them one after the other; those that time was wanting for."""
    left = []
    turns = [context.Semaphore(case.model.get("made_at_once", 1)) for case in cases]  # gone when nothing refers to one
    made = [
        (case, [Process(case, name, turn, context) for name in names_of(case)])
        for case, turn in zip(cases, turns, strict=True)
    ]
    until_s = min(end_s, time.monotonic() + patience_s)
    for _, processes in made:
        for process in processes:
            process.wait(until_s)
    for case, processes in made:
        for batch in case.batches:
            if batch != case.batches[0]:
                for process in processes:
                    process.tell("batch", batch)
                for process in processes:
                    process.wait(min(end_s, time.monotonic() + patience_s))
            for process in processes:
                time_turns(process, processes[0], end_s)
                if process.failure == LATE:
                    left.append(f"{case.model['label']} {process.name}, batch {batch}")
                elif process.name in case.missing:
                    found = {"failure": process.failure} if process.failure else process.figures
                    record.add({**case.row(process.name, batch), **found})
        for process in processes:
            process.end()
    return left


def names_of(case: Case) -> list[str]:
    """The control, which is there for comparison even where its own row is, and what is missing."""
    return list(dict.fromkeys([case.control, *case.missing]))


def time_turns(process: Process, control: Process, end_s: float) -> None:
    """Time a format in turns with the control, and uncompiled: adds milliseconds, medians of turns, to its figures."""
    turns, beside = [], []
    for _ in range(ROUNDS):
        for one, into in ((control, beside), (process, turns)):
            if one is control and process is control and into is beside:
                continue
            probe = one.ask(end_s, "time", True, 1)
            answer = probe and one.ask(end_s, "time", True, int(min(MOST, max(FEWEST, ROUND_MS / probe[0]))))
            if not answer:
                process.failure = one.failure
                return
            into.append(median(answer))
    eager = process.ask(end_s, "time", False, FEWEST) if "compile_s" in process.figures else turns
    if not eager:
        return
    beside = beside or turns
    ratios = [one / other for one, other in zip(beside, turns, strict=True)]
    process.figures |= {
        "eager_ms": median(eager),
        "latency_ms": median(turns),
        "control_ms": median(beside),
        "speedup": median(ratios),
        "speedups": [min(ratios), max(ratios)],
    }
    if median(ratios) < PROFILED:
        process.figures["kernels_ms"] = process.ask(end_s, "profile")


if __name__ == "__main__":
    run_stage(main)
