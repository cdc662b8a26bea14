"""How fast is a variant, and how much memory does it take?

Reads the models of the variant and the baseline, the stored noise and this machine's description; writes
timing/V.json. Two fresh processes, one per model, generate the same image in turns, never both at once, and the
order is turned round after each turn: drift of the machine hits both. The speed-up is the median of the ratios of the
turns. The baseline is timed against itself, which shows how far from 1 noise alone takes a ratio. At the end, when no
timing can suffer from it, both processes tell what they multiply in, and how long that takes (`executed`).

A model that would generate longer than params.yaml allows is measured for a few steps of each image, in fewer turns,
and its time is extrapolated: `extrapolated` and `baseline_extrapolated` say so, `denoiser_steps` to how many denoising
steps, `denoiser_steps_made` from how many.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.formats.shared.executed_work import image_calls, work_of
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_json
from stages.lib.project.measurement import Measurement
from stages.lib.project.memory import check_memory
from stages.lib.project.params import Params, Variant, load_params
from stages.lib.project.prompts import timed_prompt
from stages.lib.project.sections import Benchmark
from stages.lib.timing.process import TimingProcess
from stages.lib.timing.worker import Task

INSTRUMENTED_CALLS = 3
ROLES = ("variant", "baseline")
SIMULATED_REASON = "simulated"  # its time would say nothing about integer arithmetic


@dataclass(frozen=True)
class Call:
    """One timed call: which of the two processes drew, and how long it took."""

    role: str
    latency_s: float


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
    print(
        f"benchmark: {variant.label} on {timing['device']}, {timing['latency_s']:.3f} s per image"
        f"{' (extrapolated)' if timing['extrapolated'] else ''}, "
        f"{timing['speedup']:.2f}x {params.baseline}, peak {timing['run_peak_mib']:.0f} MiB, "
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
        arguments=arguments_of(params, kind_of(models / name).pipeline_class()),
        longest_image_s=params.benchmark.longest_image_s,
    )


def turns(rounds: int) -> list[tuple[str, str]]:
    """Who generates first and who second in each round: variant and baseline, baseline and variant, and so on."""
    return [ROLES if number % 2 == 0 else ROLES[::-1] for number in range(rounds)]


def measure(
    tasks: dict[str, Task],
    schedules: dict[str, tuple[str, ...]],
    settings: Benchmark,
    start: Callable[[Task], TimingProcess] = TimingProcess,
) -> dict[str, Any]:
    """Time the two tasks in turns; the part of reports/M/timing that two fresh processes measure."""
    with ExitStack() as stack:
        progress = stack.enter_context(
            tqdm(total=2 * len(ROLES), desc=f"benchmark {tasks['variant'].variant}", unit="call", mininterval=1)
        )
        processes: dict[str, TimingProcess] = {}
        for role in ROLES:
            processes[role] = stack.enter_context(start(tasks[role]))
        for role in ROLES:
            processes[role].wait()
        for role in ROLES:  # one after the other, so that they do not compete while loading
            processes[role].load()
            progress.update()
        first = {role: processes[role].ask("call") for role in ROLES}
        progress.update(len(ROLES))
        extrapolated = {role: first[role]["denoiser_steps_made"] < first[role]["denoiser_steps"] for role in ROLES}
        is_long = any(extrapolated.values())
        warmup = 0 if is_long else settings.warmup
        repeats = settings.repeats_of_long if is_long else settings.repeats
        instrumented_calls = 1 if is_long else INSTRUMENTED_CALLS
        progress.total += len(ROLES) * (warmup + repeats) + instrumented_calls + len(ROLES)
        for order in turns(warmup):
            for role in order:
                processes[role].ask("call")
                progress.update()
        calls = []
        for order in turns(repeats):
            for role in order:
                calls.append(Call(role, processes[role].ask("call")["latency_s"]))
                progress.update()
        peaks = {role: processes[role].ask("peak") for role in ROLES}
        instrumented = []
        for _ in range(instrumented_calls):
            instrumented.append(processes["variant"].ask("components"))
            progress.update()
        batches = [batch_times(processes["variant"], size, repeats) for size in settings.batch_sizes]
        executed = {}
        for role in reversed(ROLES):
            executed[role] = processes[role].ask("executed")["rows"]
            processes[role].close()  # a runtime may load the other model a second time
            progress.update()
    single = {
        "load_time_s": {role: processes[role].load_time_s for role in ROLES},
        "first_call_s": {role: first[role]["latency_s"] for role in ROLES},
        "load_peak_mib": {role: processes[role].loaded["load_peak_mib"] for role in ROLES},
        "run_peak_mib": {role: peaks[role]["peak_mib"] for role in ROLES},
    }
    measurements = named_measurements(calls, single)
    components = component_times(instrumented)
    image = {item["component"]: item["calls_per_image"] for item in components}
    return {
        "warmup": warmup,
        "extrapolated": extrapolated["variant"],
        "baseline_extrapolated": extrapolated["baseline"],
        "denoiser_steps": first["variant"]["denoiser_steps"],
        "denoiser_steps_made": first["variant"]["denoiser_steps_made"],
        "height": first["variant"]["height"],
        "width": first["variant"]["width"],
        "memory_kind": peaks["variant"]["kind"],
        "memory_method": peaks["variant"]["method"],
        **{
            key: measurements[key].median
            for key in ("load_time_s", "first_call_s", "latency_s", "speedup", "load_peak_mib", "run_peak_mib")
        },
        "measurements": [{"name": name, **item.as_json()} for name, item in measurements.items()],
        "components": components,
        "batches": batches,
        "executed": with_calls(executed["variant"], image, schedules["variant"]),
        "baseline_executed": with_calls(executed["baseline"], image, schedules["baseline"]),
        "calls": [
            {
                "call": number,
                "role": call.role,
                "variant": tasks[call.role].variant,
                "latency_s": call.latency_s,
            }
            for number, call in enumerate(calls)
        ],
    }


def batch_times(process: TimingProcess, size: int, repeats: int) -> dict[str, Any]:
    """What generation `size` images at once takes, after a call that is thrown away: seconds an image, peak in MiB."""
    answers = [process.ask("batch", size=size) for _ in range(1 + repeats)][1:]
    times_s = Measurement("s", tuple(answer["latency_s"] / size for answer in answers))
    peak_mib = max(answer["peak_mib"] for answer in answers)
    return {"batch_size": size, "run_peak_mib": peak_mib, "latency_per_image_s": times_s.as_json()}


def named_measurements(calls: list[Call], single: dict[str, dict[str, float]]) -> dict[str, Measurement]:
    """Every measurement by name: latencies and the paired speed-up from `calls`, and the figures taken once."""
    variant_s, baseline_s = (tuple(call.latency_s for call in calls if call.role == role) for role in ROLES)
    ratios = tuple(reference / own for reference, own in zip(baseline_s, variant_s, strict=True))
    measurements = {
        "latency_s": Measurement("s", variant_s),
        "baseline_latency_s": Measurement("s", baseline_s),
        "speedup": Measurement("x", ratios),
    }
    for key, values in single.items():
        unit = "MiB" if key.endswith("_mib") else "s"
        measurements[key] = Measurement(unit, (values["variant"],))
        measurements[f"baseline_{key}"] = Measurement(unit, (values["baseline"],))
    return measurements


def component_times(instrumented: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Seconds per call of each component over all instrumented images, and its calls in a whole image."""
    taken = [answer["times_s"] for answer in instrumented]
    return [
        {
            "component": name,
            "calls_per_image": instrumented[0]["calls_per_image"].get(name, len(samples)),
            **Measurement("s", tuple(sample for times in taken for sample in times[name])).as_json(),
        }
        for name, samples in taken[0].items()
    ]


def with_calls(
    rows: list[dict[str, Any]], network_calls: dict[str, int], schedule: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The rows of executed work with `calls`: how often one image calls their graph."""
    work = work_of(rows)
    scheduled = {row.component for row in work if row.graph != "main"}
    calls = (image_calls(row, network_calls, schedule, row.component in scheduled) for row in work)
    return [replace(row, calls=count).as_json() for row, count in zip(work, calls, strict=True)]


if __name__ == "__main__":
    run_stage(main)
