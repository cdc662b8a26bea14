"""How fast is every variant now? Fresh speed-ups over the baseline, and over FP32 in the variant's own runtime.

`python -m tools.benchmark` times the models that `dvc repro` made, each against the baseline and against FP32 of its
own runtime, two processes in alternation as the stage `benchmark` does. It goes through all of them in several rounds,
each a restart of both processes, with the baseline against itself before, between and after: what the machine does
within minutes is between the restarts, too. Latencies and intervals are stated as the report states them
(results.speeds). Nothing is written.
"""

import argparse
from pathlib import Path
from typing import Any

from stages.benchmark import task_of, timing_report
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json
from stages.lib.project.params import Params, Variant, load_params
from stages.lib.results.speeds import Range, own_ratio, stated, widened
from stages.lib.timing.ratios import Ratio
from stages.lib.timing.turns import ROLES
from tools.pipeline_file import RUNS

ENVIRONMENT = Path("reports/environment.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", help="keys of `variants`, by comma; default: all that have a speed")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed, from 1; default: 3")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        raise UserError(f"--rounds is {arguments.rounds}: use 1 or more")
    params = load_params()
    settings = params.benchmark.model_copy(update={"batch_sizes": [], "restarts": 1, "limit_s": 0})
    params = params.model_copy(update={"benchmark": settings})
    names = arguments.variants.split(",") if arguments.variants else list(params.variants)
    chosen = [params.variant(name) for name in names if name != params.baseline]
    variants = [variant for variant in chosen if not variant.simulated]
    run = RUNS / params.model
    models = (run / "models" / name for name in (params.baseline, *(variant.name for variant in variants)))
    for path in (run / "noise.safetensors", ENVIRONMENT, *models):
        if not path.exists():
            raise UserError(f"{path} is missing: run `dvc repro` first")
    pairs = [(variant.name, name) for variant in variants for name in references(params, variant)]
    itself = (params.baseline, params.baseline)
    order = [itself, *[pair for _ in range(arguments.rounds) for pair in (*pairs, itself)]]
    timings: dict[tuple[str, str], dict[str, Any]] = {}
    for pair in order:
        timings[pair] = with_restart(timings.get(pair), compare(params, *pair))
    over_baseline = {variant.name: timings[variant.name, params.baseline] for variant in variants}
    found, clock = stated({params.baseline: timings[itself], **over_baseline}, params.baseline)
    print(f"{'variant':28}{'s an image':>12}  over {params.baseline:24}over FP32 of its runtime")
    label = params.variant(params.baseline).label
    print(f"{label:28}{clock.reference_s:12.3f}  {_spread(clock.itself)}, itself")
    for variant in variants:
        ratios = (own_ratio(timings[variant.name, name]) for name in references(params, variant))
        shown = [f"{_spread(widened(ratio, clock.itself)):29}" for ratio in ratios]
        own = shown[1] if shown[1:] else "the same"
        print(f"{variant.label:28}{found[variant.name]['latency_s']:12.3f}  {shown[0]}{own}")


def with_restart(timing: dict[str, Any] | None, another: dict[str, Any]) -> dict[str, Any]:
    """`timing` with the calls of `another`, of the same two variants, as one more restart; None is no timing yet."""
    if timing is None:
        return another
    number = 1 + max(call["restart"] for call in timing["calls"])
    return {**timing, "calls": [*timing["calls"], *({**call, "restart": number} for call in another["calls"])]}


def references(params: Params, variant: Variant) -> tuple[str, ...]:
    """The keys of what the variant is timed against: the baseline, and FP32 of its runtime where that is another."""
    return tuple(dict.fromkeys([params.baseline, own_float32(params, variant)]))


def own_float32(params: Params, variant: Variant) -> str:
    """The key of the FP32 variant of the same back end and device, else, where PyTorch runs it too, the baseline."""
    for other in params.variants.values():
        plain = (other.weights, other.compute in ("auto", "float32"), other.compile_mode) == ("float32", True, False)
        if plain and (other.backend, other.device) == (variant.backend, variant.device):
            return other.name
    return params.baseline


def compare(params: Params, name: str, reference: str) -> dict[str, Any]:
    """What reports/M/timing would say of the variant `name` beside `reference`."""
    environment, run = read_json(ENVIRONMENT), RUNS / params.model
    variants = {role: params.variant(key) for role, key in zip(ROLES, (name, reference), strict=True)}
    tasks = {
        role: task_of(params, item.name, run / "models", run / "noise.safetensors", environment["threads"])
        for role, item in variants.items()
    }
    return timing_report(params, variants, tasks, environment)


def _spread(speedup: Ratio | Range) -> str:
    return f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


if __name__ == "__main__":
    run_stage(main)
