"""How fast is a variant, and how much memory does it take?

Reads the models of the variant and the baseline, the stored noise and this machine's description; writes
reports/timing/V.json. Two fresh processes, one per model, draw the same picture in turns, never both at once, and the
order is turned round after each turn: drift of the machine hits both. The speed-up is the median of the ratios of the
turns. The baseline is timed against itself, which shows how far from 1 noise alone takes a ratio.
"""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.lib.devices import compute_dtype, resolve_device
from stages.lib.errors import run_stage
from stages.lib.files import read_json, write_json
from stages.lib.measurement import Measurement
from stages.lib.params import load_params
from stages.lib.prompts import timed_prompt
from stages.lib.timing_process import TimingProcess
from stages.lib.timing_worker import Task

INSTRUMENTED_CALLS = 3
ROLES = ("variant", "baseline")
SIMULATED_REASON = (
    "simulated: numbers are rounded to integers, but stored and computed in floating point, so time and memory would "
    "say nothing about integer arithmetic"
)


@dataclass(frozen=True)
class Call:
    """One timed call: which of the two processes drew, and how long it took."""

    role: str
    latency_s: float


def main() -> None:
    """Measure, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--models", type=Path, required=True, help="folder with one model folder per variant")
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--environment", type=Path, required=True, help="the description of this machine")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    names = {"variant": variant.name, "label": variant.label}
    if variant.simulated:
        write_json(arguments.output, {**names, "measured": False, "reason": SIMULATED_REASON, "calls": []})
        print(f"benchmark: {variant.label} is not timed ({SIMULATED_REASON})")
        return
    environment = read_json(arguments.environment)
    prompt = timed_prompt(params)
    devices = {
        role: resolve_device(item.device, params.device)
        for role, item in zip(ROLES, (variant, params.variant(params.baseline)), strict=True)
    }
    tasks = {
        role: Task(
            variant=name,
            folder=str(arguments.models / name),
            device=devices[role],
            threads=environment["threads"],
            prompt=prompt.prompt,
            prompt_id=prompt.id,
            noise=str(arguments.noise),
            steps=params.generation.steps,
            guidance_scale=params.generation.guidance_scale,
        )
        for role, name in zip(ROLES, (variant.name, params.baseline), strict=True)
    }
    timing = {
        **names,
        "measured": True,
        "baseline": params.baseline,
        "device": devices["variant"],
        "baseline_device": devices["baseline"],
        "compute": compute_dtype(variant, devices["variant"]),
        "threads": environment["threads"],
        "fingerprint": environment["fingerprint"],
        "prompt": prompt.id,
        "steps": params.generation.steps,
        "warmup": params.benchmark.warmup,
        **measure(tasks, params.benchmark.warmup, params.benchmark.repeats),
    }
    write_json(arguments.output, timing)
    print(
        f"benchmark: {variant.label} on {timing['device']}, {timing['latency_s']:.3f} s per picture, "
        f"{timing['speedup']:.2f}x {params.baseline}, peak {timing['run_peak_mib']:.0f} MiB, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


def turns(rounds: int) -> list[tuple[str, str]]:
    """Who draws first and who second in each round: variant and baseline, baseline and variant, and so on."""
    return [ROLES if number % 2 == 0 else ROLES[::-1] for number in range(rounds)]


def measure(tasks: dict[str, Task], warmup: int, repeats: int) -> dict[str, Any]:
    """Time the two tasks in turns; the part of reports/timing that two fresh processes measure."""
    total = len(ROLES) * (2 + warmup + repeats) + INSTRUMENTED_CALLS
    with ExitStack() as stack:
        progress = stack.enter_context(
            tqdm(total=total, desc=f"benchmark {tasks['variant'].variant}", unit="call", mininterval=1)
        )
        processes: dict[str, TimingProcess] = {}
        for role in ROLES:  # one after the other, so that they do not compete while loading
            processes[role] = stack.enter_context(TimingProcess(tasks[role]))
            progress.update()
        first = {role: processes[role].ask("call") for role in ROLES}
        progress.update(len(ROLES))
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
        for _ in range(INSTRUMENTED_CALLS):
            instrumented.append(processes["variant"].ask("components")["times_s"])
            progress.update()
    single = {
        "load_time_s": {role: processes[role].load_time_s for role in ROLES},
        "import_time_s": {role: processes[role].loaded["import_time_s"] for role in ROLES},
        "first_call_s": {role: first[role]["latency_s"] for role in ROLES},
        "load_peak_mib": {role: processes[role].loaded["load_peak_mib"] for role in ROLES},
        "run_peak_mib": {role: peaks[role]["peak_mib"] for role in ROLES},
    }
    measurements = named_measurements(calls, single)
    return {
        "height": first["variant"]["height"],
        "width": first["variant"]["width"],
        "memory_kind": peaks["variant"]["kind"],
        "memory_method": peaks["variant"]["method"],
        "import_time_s": single["import_time_s"]["variant"],
        **{
            key: measurements[key].median
            for key in ("load_time_s", "first_call_s", "latency_s", "speedup", "load_peak_mib", "run_peak_mib")
        },
        "measurements": [{"name": name, **item.as_json()} for name, item in measurements.items()],
        "components": component_times(instrumented),
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


def component_times(instrumented: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Seconds per call of each component over all instrumented pictures."""
    return [
        {
            "component": name,
            "calls_per_picture": len(instrumented[0][name]),
            **Measurement("s", tuple(sample for times in instrumented for sample in times[name])).as_json(),
        }
        for name in instrumented[0]
    ]


if __name__ == "__main__":
    run_stage(main)
