"""Measure variants on this machine, without DVC, for a report that is rendered elsewhere.

`python -m tools.measure_machine --plan data/machines/gpu.yaml --output reports/machines` runs the stages of dvc.yaml
in a scratch folder and leaves a folder for this machine in the output. Finished variants are not measured again;
`--time-limit` stops before a variant that would probably last longer. Run it again to go on.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.errors import UserError, run_stage

if TYPE_CHECKING:
    from tools.machine_folder import MachineFolder
    from tools.machine_plan import Plan

# What the stages import, and the name it has for pip.
PACKAGES = {
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "huggingface_hub": "huggingface_hub",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "ruamel.yaml": "ruamel.yaml",
    "tqdm": "tqdm",
}
CHECKOUT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", type=Path, help="YAML of what to measure and which values of params.yaml to replace")
    parser.add_argument("--models", type=_names, help="keys of `models`, by comma; default: the plan's, else `model`")
    parser.add_argument("--variants", type=_names, help="keys of variants, by comma; default: the plan's, else all")
    parser.add_argument("--output", type=Path, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument("--scratch", type=Path, help="where to work; a variant of a large model takes gigabytes")
    parser.add_argument("--time-limit", type=float, default=float("inf"), metavar="SECONDS")
    arguments = parser.parse_args()
    require_packages()

    from stages.environment import describe
    from tools.machine_folder import MachineFolder
    from tools.machine_plan import read_plan

    plans = read_plan(arguments.plan, arguments.models, arguments.variants)
    folder = MachineFolder.open(arguments.output, describe())
    for plan in plans:
        folder.ask(plan.model, plan.variants)
    clock = Clock(time.monotonic(), arguments.time_limit)
    left, failed = [], []
    for plan in plans:
        pending = [name for name in plan.variants if not folder.has(plan, name)]
        if pending and not clock.stops:
            with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix=f"{plan.model}-") as scratch:
                begun, reasons = measure_model(plan, pending, folder, Path(scratch), clock)
            failed += [f"{plan.model}/{name}: {reason}" for name, reason in reasons.items()]
            pending = pending[begun:]
        left += [f"{plan.model}/{name}" for name in pending]
    print(f"measure_machine: {folder.path}, {clock.elapsed_s:.0f} s")
    if left:
        print(f"measure_machine: not begun for want of time: {', '.join(left)}; run it again to go on")
    if failed:
        raise UserError("not measured: " + "\n       ".join(failed))


@dataclass
class Clock:
    """When the measurement began and should end, and how long the longest variant has taken, in seconds."""

    begin_s: float
    limit_s: float
    longest_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begin_s

    @property
    def stops(self) -> bool:
        """Whether another variant, if it takes as long as the longest did, would end after the limit."""
        return self.elapsed_s + self.longest_s > self.limit_s


def measure_model(
    plan: "Plan", pending: list[str], folder: "MachineFolder", project: Path, clock: Clock
) -> tuple[int, dict[str, str]]:
    """Measure the variants `pending` in the empty folder `project` until the clock stops.

    How many of them were begun, and why some failed; if what all need cannot be made, all have.
    """

    def stage(name: str, variant: str) -> None:
        run_stage_command(name, variant, project)

    failed: dict[str, str] = {}
    obstacles = plan.write(project, folder.environment)
    failed |= {name: f"{item['reason']}: {item['remedy']}" for name in pending if (item := obstacles[name])}
    try:
        prepare(plan.baseline, plan.calibrated, stage)
    except UserError as error:
        failed |= dict.fromkeys(pending, str(error))
    for number, name in enumerate(pending):
        if name not in failed:
            if clock.stops:
                return number, failed
            begin_s = clock.elapsed_s
            try:
                measure_variant(name, plan.baseline, stage)
                folder.keep(plan, name, project)
            except UserError as error:
                failed[name] = str(error)
            clock.longest_s = max(clock.longest_s, clock.elapsed_s - begin_s)
        if name in failed:
            folder.fail(plan.model, name, failed[name])
        if name != plan.baseline:
            shutil.rmtree(project / "data/models" / name, ignore_errors=True)
    return len(pending), failed


def _names(text: str) -> list[str]:
    return text.split(",")


def require_packages() -> None:
    """Raise a UserError that names every package the stages need and this Python lacks."""
    missing = [name for module, name in PACKAGES.items() if not _is_there(module)]
    if missing:
        raise UserError(
            f"this Python ({sys.executable}) lacks {', '.join(missing)}: run `pip install {' '.join(missing)}`"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package above it
        return False


def prepare(baseline: str, calibrated: bool, stage: Callable[[str, str], None]) -> None:
    """What all variants of a model need: the model, the noise, and the baseline with its pictures."""
    for name in ("download", "noise", *(["calibrate"] if calibrated else [])):
        stage(name, "")
    for name in ("quantize", "generate"):
        stage(name, baseline)


def measure_variant(variant: str, baseline: str, stage: Callable[[str, str], None]) -> None:
    """Everything that is measured of one variant."""
    for name in ("quantize", "generate", "benchmark", "evaluate")[2 if variant == baseline else 0 :]:
        stage(name, variant)


def run_stage_command(name: str, variant: str, project: Path) -> None:
    """Run a stage of dvc.yaml in the folder `project` with this checkout's code; its message is a UserError."""
    from stages.lib.pipeline_file import stage_command

    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *stage_command(name, variant)[1:]],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1].removeprefix("error: ") if lines else "it left no message"
        raise UserError(f"stage {name} ended with exit code {done.returncode}: {said}")


if __name__ == "__main__":
    run_stage(main)
