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
from tools.measure_machine import OF_MACHINE, commit_here

ROUNDS, ROUND_MS, FEWEST, MOST = 4, 300, 4, 30  # turns, what a turn takes about, and its calls
SHOWN = ("latency_ms", "eager_ms", "speedup", "compile_s", "failure")
LATE = "out of time"
PROFILED = 0.9  # below this ratio to the control a row says which kernels its time goes to


def main() -> None:
    """Measure what is missing, say what is left."""
    begin_s = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", type=Path, default=Path("data/machines/denoisers.yaml"))
    parser.add_argument("--models", help="keys of the plan's `models`, by comma; default: all of them")
    parser.add_argument("--output", type=Path, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument("--time-limit", type=float, default=1e6, help="seconds after which nothing goes on")
    parser.add_argument("--commit", default=commit_here(), help="of this code, where Git cannot tell")
    arguments = parser.parse_args()
    plan, environment = read_yaml(arguments.plan), describe()
    if not environment["machine"]["gpu"]:
        raise UserError("PyTorch finds no CUDA device here: denoisers at their true size are measured on a GPU")
    folder = arguments.output / environment["fingerprint"]
    record = Record(folder, environment, arguments.commit)
    chosen = arguments.models.split(",") if arguments.models else list(plan["models"])
    left = []
    for case in (case for case in plan["cases"] if case["model"] in chosen):
        formats = [name for name in case["formats"] if not record.has(_row(plan, case, name))]
        if formats or not record.has(_row(plan, case, case["control"])):
            left += measure(plan, {**case, "formats": formats}, record, begin_s + arguments.time_limit)
    print(f"measure_denoisers: {folder}, {len(record.rows)} rows, {time.monotonic() - begin_s:.0f} s")
    if left:
        print(f"measure_denoisers: not measured for want of time: {', '.join(left)}; run it again to go on")


class Record:
    """denoisers.json of one machine: rows, each with the commit it was measured at, under one digest."""

    def __init__(self, folder: Path, environment: dict[str, Any], commit: str | None) -> None:
        self.folder, self.commit = folder, commit
        write_json(folder / "environment.json", {key: environment[key] for key in OF_MACHINE})
        if not (folder / "asked.json").is_file():
            write_json(folder / "asked.json", {"models": {}, "failed": {}})
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


def _row(plan: dict[str, Any], case: dict[str, Any], name: str) -> dict[str, Any]:
    """What a row is of."""
    declared = plan["formats"][name]
    return {
        "model": case["model"],
        "model_label": plan["models"][case["model"]]["label"],
        "batch": case["batch"],
        "format": name,
        "control": case["control"],
        "variant": declared["variant"],
        "settings": declared.get("settings", {}),
    }


class Process:
    """A format being made, and then timed: `figures` are what is known of it, `failure` why that ended, or None."""

    def __init__(self, plan: dict[str, Any], row: dict[str, Any], lock: Any, context: Any) -> None:
        self.row, self.failure = row, None
        self.figures: dict[str, Any] = {}
        model = plan["models"][row["model"]]
        job = {
            **{key: row[key] for key in ("batch", "variant", "settings")},
            **{key: model.get(key, {}) for key in ("path", "inputs", "fixed")},
        }
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, lock, job), daemon=True)
        self._process.start()
        other.close()

    @property
    def result(self) -> dict[str, Any]:
        """Its row."""
        return {**self.row, **({"failure": self.failure} if self.failure else self.figures)}

    def wait(self, end_s: float) -> None:
        """Until it is made and compiled, or has failed."""
        self.figures |= (self._answer(end_s) or {}).get("ready", {})

    def ask(self, asked: Any, end_s: float) -> Any:
        """Its answer; None where it has failed."""
        if self.failure is None:
            self.pipe.send(asked)
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


def measure(plan: dict[str, Any], case: dict[str, Any], record: Record, end_s: float) -> list[str]:
    """Measure a case's formats, `at_once` of them beside the control; those that time was wanting for."""
    context = multiprocessing.get_context("spawn")
    lock, left, step = context.Lock(), [], case["at_once"]
    control, longest_s = None, float(case["least_s"])
    for place in range(0, max(1, len(case["formats"])), step):
        names, wave_s = case["formats"][place : place + step], time.monotonic()
        if wave_s + longest_s > end_s:
            left += [f"{case['model']} {name}" for name in names]
            continue
        control = control or Process(plan, _row(plan, case, case["control"]), lock, context)
        others = [Process(plan, _row(plan, case, name), lock, context) for name in names]
        fresh = [*([] if control.figures else [control]), *others]
        for process in fresh:
            process.wait(end_s)
        for process in fresh:
            time_rows(process, control, end_s)
            if process.failure == LATE:
                left.append(f"{case['model']} {process.row['format']}")
            else:
                record.add(process.result)
        for process in others:
            process.end()
        longest_s = max(longest_s, time.monotonic() - wave_s)
    if control:
        control.end()
    return left


def time_rows(process: Process, control: Process, end_s: float) -> None:
    """Time a format uncompiled and compiled in turns with the control: adds medians of turns, in ms, to its figures."""
    compiled = "compile_s" in process.figures
    turns: dict[str, list[float]] = {"eager": [], "compiled": [], "control": []}
    for _ in range(ROUNDS):
        for name, asked, given in (("control", control, True), ("compiled", process, True), ("eager", process, False)):
            if (name == "compiled" and not compiled) or (name == "control" and process is control):
                continue
            one = asked.ask(("time", given, 1), end_s)
            answer = one and asked.ask(("time", given, int(min(MOST, max(FEWEST, ROUND_MS / one[0])))), end_s)
            if not answer:
                process.failure = asked.failure
                return
            turns[name].append(median(answer))
    best = turns["compiled" if compiled else "eager"]
    beside = turns["control"] or best
    ratios = [one / other for one, other in zip(beside, best, strict=True)]
    process.figures |= {
        "eager_ms": median(turns["eager"]),
        "latency_ms": median(best),
        "control_ms": median(beside),
        "speedup": median(ratios),
        "speedups": [min(ratios), max(ratios)],
    }
    if median(ratios) < PROFILED:
        process.figures["kernels_ms"] = process.ask("profile", end_s)


if __name__ == "__main__":
    run_stage(main)
