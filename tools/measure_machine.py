"""Measure variants on this machine, without DVC, for a report that is rendered elsewhere.

`python -m tools.measure_machine --plan data/machines/gpu.yaml --output reports/machines` runs the stages of dvc.yaml
in a scratch folder and leaves a folder for this machine in the output. Finished variants are not measured again;
`--time-limit` stops before what would probably last longer. Run it again to go on.

`--jobs` variants at a time are made, generated with, loaded and compiled together; then they are timed one by one,
while the others wait, first single images, then batches. On a machine with many cores that saves most of the time,
since compiling keeps one of them busy for minutes. What is measured is stored at once.
"""

import argparse
import importlib.util
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from stages.lib.project.errors import UserError, run_stage

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


def main() -> None:
    """Measure what is missing, say what is left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", type=Path, help="YAML of what to measure and which values of params.yaml to replace")
    parser.add_argument("--models", type=_names, help="keys of `models`, by comma; default: the plan's, else `model`")
    parser.add_argument("--variants", type=_names, help="keys of variants, by comma; default: the plan's, else all")
    parser.add_argument("--output", type=Path, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument("--scratch", type=Path, help="where to work; a variant of a large model takes gigabytes")
    parser.add_argument("--jobs", type=int, default=1, help="variants that are made ready at the same time")
    parser.add_argument("--ready-limit", type=float, default=float("inf"), metavar="SECONDS", help="for each `--jobs`")
    parser.add_argument("--time-limit", type=float, default=float("inf"), metavar="SECONDS")
    arguments = parser.parse_args()
    require_packages()

    from stages.environment import describe
    from tools.machine_folder import MachineFolder
    from tools.machine_plan import read_plan
    from tools.measuring_round import Clock, Item, measure_round
    from tools.project import Project, let_stages_find_this_checkout

    let_stages_find_this_checkout()
    plans = read_plan(arguments.plan, arguments.models, arguments.variants)
    environment = describe()
    folder = MachineFolder.open(arguments.output, environment)
    clock = Clock(arguments.time_limit, arguments.ready_limit)
    with ExitStack() as stack:
        items = []
        for plan in plans:
            folder.ask(plan.model, plan.variants)
            pending = [name for name in plan.variants if not folder.has(plan, name)]
            if pending:
                if arguments.scratch:
                    arguments.scratch.mkdir(parents=True, exist_ok=True)
                scratch = tempfile.TemporaryDirectory(dir=arguments.scratch, prefix=f"{plan.model}-")
                threads = None if arguments.jobs == 1 else max(1, environment["threads"] // arguments.jobs)
                project = Project(plan, Path(stack.enter_context(scratch)), environment, threads)
                obstacles = project.begin()
                items += [Item(project, name, failure=obstacles.get(name)) for name in pending]
        baselines = {}
        for begin in range(0, len(items), arguments.jobs):
            if not clock.stops:
                measure_round(items[begin : begin + arguments.jobs], baselines, folder, clock, arguments.jobs == 1)
        for session in baselines.values():
            session.close()
    print(f"measure_machine: {folder.path}, {clock.elapsed_s:.0f} s")
    if left := [item.title for item in items if item.left]:
        print(f"measure_machine: not begun for want of time: {', '.join(left)}; run it again to go on")
    if failed := [f"{item.title}: {item.failure}" for item in items if item.failure]:
        raise UserError("not measured: " + "\n       ".join(failed))


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


if __name__ == "__main__":
    run_stage(main)
