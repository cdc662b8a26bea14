"""How fast is a variant, and how much memory does it take?

Reads the models of the variant and the baseline, the stored noise and this machine's description; writes
timing/V.json. How the two are timed, stages.lib.timing.turns says. The baseline is timed against itself, which shows
what this run can tell apart.

A model that would generate longer than params.yaml allows is measured for a few steps of each image, and its time is
extrapolated: `extrapolated` and `baseline_extrapolated` say so, `denoiser_steps` to how many denoising steps,
`denoiser_steps_made` from how many.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_json
from stages.lib.project.memory import check_memory
from stages.lib.project.params import Params, Variant, load_params
from stages.lib.project.prompts import timed_prompt
from stages.lib.timing.process import TimingProcess
from stages.lib.timing.timed_model import Task
from stages.lib.timing.turns import ROLES, measure

SIMULATED_REASON = "simulated"  # its time would say nothing about integer arithmetic


def main() -> None:
    """Measure, write, print one line."""
    arguments = command_line(__doc__, "variant", "models", "noise", "environment", "output")
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    if passed_on("benchmark", variant, obstacle_left_in(arguments.models / variant.name), arguments.output):
        return
    names = {"variant": variant.name, "label": variant.label}
    if variant.simulated:
        write_json(arguments.output, {**names, "measured": False, "reason": SIMULATED_REASON, "calls": []})
        print(f"benchmark: {variant.label} is not timed ({SIMULATED_REASON})")
        return
    environment = read_json(arguments.environment)
    variants = dict(zip(ROLES, (variant, params.variant(params.baseline)), strict=True))
    tasks = {
        role: task_of(params, item.name, arguments.models, arguments.noise, environment["threads"])
        for role, item in variants.items()
    }
    on_cpu = [item for role, item in variants.items() if tasks[role].device == "cpu"]
    held_bytes = sum(loaded_bytes(arguments.models / item.name, item) for item in on_cpu)
    check_memory(held_bytes, f"timing {variant.label} beside {variants['baseline'].label}", processes=len(ROLES))
    timing = {**names, **timing_report(params, variants, tasks, environment)}
    write_json(arguments.output, timing)
    ratio = timing["ratio"]
    print(
        f"benchmark: {variant.label} on {timing['device']}"
        f"{' (extrapolated)' if timing['extrapolated'] else ''}, "
        f"{ratio['value']:.2f}x {params.baseline} ({ratio['low']:.2f} to {ratio['high']:.2f}, "
        f"{counted(ratio['restarts'], 'restart')}), peak {timing['run_peak_mib']:.0f} MiB, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


def timing_report(
    params: Params,
    variants: dict[str, Variant],
    tasks: dict[str, Task],
    environment: dict[str, Any],
    start: Callable[[Task], TimingProcess] = TimingProcess,
) -> dict[str, Any]:
    """What reports/M/timing says of a variant that is timed, but for its names; `start` gives the process of a task."""
    schedules = {role: item.call_precisions for role, item in variants.items()}
    return {
        "measured": True,
        "baseline": params.baseline,
        "device": tasks["variant"].device,
        "baseline_device": tasks["baseline"].device,
        "compute": compute_dtype(variants["variant"], tasks["variant"].device),
        "threads": environment["threads"],
        "fingerprint": environment["fingerprint"],
        "prompt": tasks["variant"].prompt_id,
        "steps": params.steps,
        **measure(tasks, schedules, params.benchmark, start),
    }


def task_of(params: Params, name: str, models: Path, noise: Path, threads: int) -> Task:
    """What a process that times the variant `name` loads and generates."""
    prompt = timed_prompt(params)
    return Task(
        variant=name,
        folder=str(models / name),
        device=resolve_device(params.variant(name).device, params.device),
        threads=threads,
        prompt=prompt.prompt,
        prompt_id=prompt.id,
        seed=prompt.seed,
        noise=str(noise),
        longest_image_s=params.benchmark.longest_image_s,
    )


if __name__ == "__main__":
    run_stage(main)
