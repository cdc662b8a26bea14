"""How fast is a variant, and how much memory does it take?

Reads the models of the variant and the baseline, the stored noise and this machine's description; writes
timing/V.json. Two processes, one per model, generate the same image in turns, never both at once, in an order drawn
anew for every four calls and turned round in the middle of them: drift of the machine hits both. Then both are ended,
load their models anew and go on, `restarts` times at least, and until the interval of the ratio is as narrow as
`precision` or the time limit is reached. A call that was disturbed (stages.lib.timing.disturbance) is discarded with
its pair. The baseline is timed against itself, which shows what this run can tell apart. In the last of the least
number of restarts memory and loading are measured too, and once all its calls are timed, the processes tell what they
multiply in, and how long that takes (`executed`).

A model that would generate longer than params.yaml allows is measured for a few steps of each image, and its time is
extrapolated: `extrapolated` and `baseline_extrapolated` say so, `denoiser_steps` to how many denoising steps,
`denoiser_steps_made` from how many.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.formats.shared.executed_work import image_calls, work_of
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_json
from stages.lib.project.measurement import Measurement
from stages.lib.project.memory import check_memory
from stages.lib.project.params import Params, Variant, load_params
from stages.lib.project.prompts import timed_prompt
from stages.lib.project.sections import Benchmark
from stages.lib.timing.process import TimingProcess
from stages.lib.timing.ratios import paired_ratios, ratio_of_calls
from stages.lib.timing.worker import Task

ROLES = ("variant", "baseline")
SIMULATED_REASON = "simulated"  # its time would say nothing about integer arithmetic
# What a restart gives once for each of the two: its unit, and where it stands.
ONCE: dict[str, tuple[str, Callable[[dict, str], float]]] = {
    "load_time_s": ("s", lambda restart, role: restart["loaded"][role]["load_time_s"]),
    "first_call_s": ("s", lambda restart, role: restart["first"][role]["latency_s"]),
    "load_peak_mib": ("MiB", lambda restart, role: restart["loaded"][role]["load_peak_mib"]),
    "run_peak_mib": ("MiB", lambda restart, role: restart["peaks"][role]["peak_mib"]),
    "libraries_mib": ("MiB", lambda restart, role: restart["libraries"][role]),
}


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
        f"{ratio['restarts']} restarts), peak {timing['run_peak_mib']:.0f} MiB, "
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


def turns(pairs: int, random: Random) -> Iterator[str]:
    """Who generates, call by call: of every two pairs the first is in an order drawn by chance, the second turned."""
    for _ in range(pairs // 2):
        order = random.sample(ROLES, 2)
        yield from order + order[::-1]


def measure(
    tasks: dict[str, Task],
    schedules: dict[str, tuple[str, ...]],
    settings: Benchmark,
    start: Callable[[Task], TimingProcess] = TimingProcess,
) -> dict[str, Any]:
    """Time the two tasks in turns; the part of reports/M/timing that their processes measure."""
    begin_s = time.monotonic()
    restarts: list[dict[str, Any]] = []
    with ExitStack() as stack:
        progress = stack.enter_context(
            tqdm(total=settings.restarts, desc=f"benchmark {tasks['variant'].variant}", unit="restart", mininterval=1)
        )
        processes = {role: stack.enter_context(start(tasks[role])) for role in ROLES}
        for process in processes.values():
            process.wait()
        while True:
            is_full = len(restarts) + 1 == settings.restarts
            restarts.append(_restart(processes, settings, Random(len(restarts)), is_full))
            progress.update()
            calls = [
                {"call": 0, "restart": number, "variant": tasks[call["role"]].variant, **call}
                for number, restart in enumerate(restarts)
                for call in restart["calls"]
            ]
            kept = paired_ratios(calls)
            ratio = ratio_of_calls(calls)
            precise = len(kept) >= settings.restarts and ratio.half_width <= settings.precision
            spent_s = time.monotonic() - begin_s
            late = spent_s * (len(restarts) + 1) / len(restarts) > settings.limit_s
            if len(restarts) >= settings.restarts and (precise or late):
                break
            for role in ROLES:
                processes[role].end()
    full = restarts[settings.restarts - 1]
    measurements = named_measurements(restarts, full, calls)
    components = component_times(full["instrumented"])
    image = {item["component"]: item["calls_per_image"] for item in components}
    made = {role: full["first"][role] for role in ROLES}
    return {
        **{
            role_key(role, "extrapolated"): made[role]["denoiser_steps_made"] < made[role]["denoiser_steps"]
            for role in ROLES
        },
        **{key: made["variant"][key] for key in ("denoiser_steps", "denoiser_steps_made", "height", "width")},
        "memory_kind": full["peaks"]["variant"]["kind"],
        "memory_method": full["peaks"]["variant"]["method"],
        **{key: measurements[key].median for key in ONCE},
        "ratio": asdict(ratio),
        "discarded": len(calls) // 2 - sum(len(pairs) for pairs in kept),
        "precise": precise,
        "limit_s": settings.limit_s,
        "measurements": [{"name": name, **item.as_json()} for name, item in measurements.items()],
        "components": components,
        "batches": full["batches"],
        "executed": with_calls(full["executed"]["variant"], image, schedules["variant"]),
        "baseline_executed": with_calls(full["executed"]["baseline"], image, schedules["baseline"]),
        "calls": [{**call, "call": number} for number, call in enumerate(calls)],
    }


def _restart(processes: dict[str, TimingProcess], settings: Benchmark, random: Random, is_full: bool) -> dict[str, Any]:
    """Load both models and time them in turns; in the full one they load one after the other, and more is measured."""
    loaded: dict[str, dict[str, float]] = {}
    for role in ROLES:
        processes[role].begin_load(fork=not is_full)
        if is_full:
            loaded[role] = processes[role].loaded()
    loaded = loaded or {role: processes[role].loaded() for role in ROLES}
    found = {"loaded": loaded, "first": {role: processes[role].ask("call") for role in ROLES}}
    for role in ROLES * settings.warmup:
        processes[role].ask("call")
    answers = [(role, processes[role].ask("call")) for role in turns(settings.pairs, random)]
    found["calls"] = [
        {"role": role, "latency_s": answer["latency_s"], **answer["disturbance"]} for role, answer in answers
    ]
    if is_full:
        found["peaks"] = {role: processes[role].ask("peak") for role in ROLES}
        found["libraries"] = {role: processes[role].libraries_mib for role in ROLES}
        found["instrumented"] = [processes["variant"].ask("components")]
        found["batches"] = [batch_times(processes["variant"], size, settings.pairs) for size in settings.batch_sizes]
        found["executed"] = {role: processes[role].ask("executed")["rows"] for role in reversed(ROLES)}
    return found


def batch_times(process: TimingProcess, size: int, repeats: int) -> dict[str, Any]:
    """What generation `size` images at once takes, after a call that is thrown away: seconds an image, peak in MiB."""
    answers = [process.ask("batch", size=size) for _ in range(1 + repeats)][1:]
    times_s = Measurement("s", tuple(answer["latency_s"] / size for answer in answers))
    peak_mib = max(answer["peak_mib"] for answer in answers)
    return {"batch_size": size, "run_peak_mib": peak_mib, "latency_per_image_s": times_s.as_json()}


def named_measurements(
    restarts: list[dict[str, Any]], full: dict[str, Any], calls: list[dict[str, Any]]
) -> dict[str, Measurement]:
    """Every measurement by name: latencies, paired ratios, each restart's first call, and what the full one gave."""
    seconds = {role: tuple(call["latency_s"] for call in calls if call["role"] == role) for role in ROLES}
    pairs = (reference / own for own, reference in zip(*seconds.values(), strict=True))
    found = {
        "latency_s": Measurement("s", seconds["variant"]),
        "baseline_latency_s": Measurement("s", seconds["baseline"]),
        "speedup": Measurement("x", tuple(pairs)),
    }
    for key, (unit, value) in ONCE.items():
        for role in ROLES:
            taken = restarts if key == "first_call_s" else [full]
            found[role_key(role, key)] = Measurement(unit, tuple(value(restart, role) for restart in taken))
    return found


def role_key(role: str, key: str) -> str:
    """What `key` of the variant is called, and that of the baseline."""
    return key if role == "variant" else f"baseline_{key}"


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
