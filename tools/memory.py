"""Does any stage's memory grow with the number of prompts? Run all of them with 8 and with 64, print the peaks.

`python -m tools.memory` works in a temporary copy of the project, on the model of params.yaml, with two denoising
steps: more steps take longer, not more memory. Peaks are those of the largest process of a stage.
All formats take some twenty minutes on two cores; `--variants` chooses.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from stages.lib.project.errors import run_stage
from stages.lib.project.params import PARAMS_FILE, load_params, read_yaml
from stages.lib.project.prompts import load_prompts
from tools.pipeline_file import PIPELINE, Stage, make_project, read_stages
from tools.quick import write_prompts

LIMIT_MIB = 3 * 1024
INTERVAL_S = 0.05


def make_copy(folder: Path, prompts: int, variants: list[str]) -> list[Stage]:
    """A project in `folder` that generates `prompts` images of two steps with each of `variants`, and its stages."""
    params = read_yaml(PARAMS_FILE)
    params["variants"] = {name: params["variants"][name] for name in variants}
    params["generation"]["steps"] = 2
    params["benchmark"] |= {"restarts": 1, "pairs": 2, "limit_s": 1}
    make_project(folder, params)
    path = folder / params["prompts"]["file"]
    rows = load_prompts(path, None)
    many = [replace(rows[number % len(rows)], seed=number) for number in range(prompts)]
    many[len(rows) :] = [replace(row, id=f"more-{number}") for number, row in enumerate(many[len(rows) :])]
    path.unlink()  # the link, which must not lead to what is written
    write_prompts(path, many)
    return read_stages(PIPELINE, params)


def peak_mib(command: list[str], folder: Path) -> float:
    """Run a stage's command in `folder`; the largest resident set of its processes in MiB."""
    process = subprocess.Popen([sys.executable, *command[1:]], cwd=folder, stdout=subprocess.DEVNULL)
    highest, ended = 0.0, 0
    while not ended:
        highest = max(highest, *map(high_water_mib, [process.pid, *descendants(process.pid)]))
        time.sleep(INTERVAL_S)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if status:
        sys.exit(f"error: `{shlex.join(command)}` failed")
    return max(highest, usage.ru_maxrss / 1024)


def descendants(pid: int) -> list[int]:
    """Also those that the kernel's account of a process leaves out, since another process waits for them."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def high_water_mib(pid: int) -> float:
    """The largest resident set so far of a process (VmHWM, on Linux alone); 0 once it has ended."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError):
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, nargs=2, default=(8, 64), metavar=("FEW", "MANY"))
    parser.add_argument("--variants", help="the baseline and others, with commas between them; default: all")
    arguments = parser.parse_args()
    counts, params = arguments.prompts, load_params()
    variants = list(params.variants)
    if arguments.variants:
        chosen = {params.variant(name).name for name in (params.baseline, *arguments.variants.split(","))}
        variants = [name for name in variants if name in chosen]
    peaks: dict[str, list[float]] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            for stage in make_copy(Path(folder), count, variants):
                peaks.setdefault(stage.name, []).append(peak_mib(stage.command, Path(folder)))
                print(f"{count} prompts, {stage.name}: {peaks[stage.name][-1]:.0f} MiB", file=sys.stderr, flush=True)
    print(f"{'stage':28}{counts[0]:>6} prompts{counts[1]:>6} prompts   growth")
    for name, (few, many) in peaks.items():
        print(f"{name:28}{few:10.0f} MiB{many:10.0f} MiB {many - few:+8.0f}")
    if max(max(values) for values in peaks.values()) > LIMIT_MIB:
        sys.exit(f"error: a stage needs more than {LIMIT_MIB} MiB")


if __name__ == "__main__":
    run_stage(main)
