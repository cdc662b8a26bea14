"""Two processes time a variant and the baseline in turns: the part of reports/M/timing that is measured.

They generate the same image, never both at once, in an order drawn anew for every four calls and turned round in the
middle of them: drift of the machine hits both. Then both are ended, load their models anew and go on, `restarts` times
at least, and until the interval of the ratio is as narrow as `precision` or the time limit is reached. A call that was
disturbed (stages.lib.timing.disturbance) is discarded with its pair. In the last of the least number of restarts memory
and loading are measured too, and once all its calls are timed, the processes tell what they multiply in, and how long
that takes (`executed`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from random import Random
from typing import Any

from tqdm import tqdm

from stages.lib.formats.shared.executed_work import image_calls, work_of
from stages.lib.project.measurement import Measurement
from stages.lib.project.sections import Benchmark
from stages.lib.timing.process import TimingProcess
from stages.lib.timing.ratios import paired_ratios, ratio_of_calls
from stages.lib.timing.timed_model import Task

ROLES = ("variant", "baseline")
# What a restart gives once for each of the two: its unit, and where it stands.
ONCE: dict[str, tuple[str, Callable[[dict, str], float]]] = {
    "load_time_s": ("s", lambda restart, role: restart["loaded"][role]["load_time_s"]),
    "first_call_s": ("s", lambda restart, role: restart["first"][role]["latency_s"]),
    "load_peak_mib": ("MiB", lambda restart, role: restart["loaded"][role]["load_peak_mib"]),
    "run_peak_mib": ("MiB", lambda restart, role: restart["peaks"][role]["peak_mib"]),
    "libraries_mib": ("MiB", lambda restart, role: restart["libraries"][role]),
}


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
