"""How fast is every variant now? Fresh speed-ups over the baseline, and over FP32 in the variant's own runtime.

`python -m tools.benchmark` times the models that `dvc repro` made, each against the baseline and against FP32 of its
own runtime, two processes in alternation and in several restarts as the stage `benchmark` does, the baseline against
itself before and after all others. Latencies and intervals are stated as the report states them (results.speeds).
Nothing is written.
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
    parser.add_argument("--restarts", type=int, default=3, help="at least so many")
    arguments = parser.parse_args()
    params = load_params()
    settings = params.benchmark.model_copy(update={"batch_sizes": [], "restarts": arguments.restarts})
    params = params.model_copy(update={"benchmark": settings})
    names = arguments.variants.split(",") if arguments.variants else list(params.variants)
    chosen = [params.variant(name) for name in names if name != params.baseline]
    variants = [variant for variant in chosen if not variant.simulated]
    run = RUNS / params.model
    models = (run / "models" / name for name in (params.baseline, *(variant.name for variant in variants)))
    for path in (run / "noise.safetensors", ENVIRONMENT, *models):
        if not path.exists():
            raise UserError(f"{path} is missing: run `dvc repro` first")
    before = compare(params, params.baseline, params.baseline)
    timed = {
        variant.name: {
            name: compare(params, variant.name, name)
            for name in dict.fromkeys([params.baseline, own_float32(params, variant)])
        }
        for variant in variants
    }
    after = compare(params, params.baseline, params.baseline)
    restarted = [
        {**call, "restart": (place, call["restart"])}
        for place, timing in enumerate((before, after))
        for call in timing["calls"]
    ]
    over_baseline = {name: found[params.baseline] for name, found in timed.items()}
    found, clock = stated({params.baseline: {**before, "calls": restarted}, **over_baseline}, params.baseline)
    print(f"{'variant':28}{'s an image':>12}  over {params.baseline:24}over FP32 of its runtime")
    label = params.variant(params.baseline).label
    print(f"{label:28}{clock.reference_s:12.3f}  {_spread(clock.itself)}, itself")
    for variant in variants:
        shown = [f"{_spread(widened(own_ratio(timing), clock.itself)):29}" for timing in timed[variant.name].values()]
        own = shown[1] if shown[1:] else "the same"
        print(f"{variant.label:28}{found[variant.name]['latency_s']:12.3f}  {shown[0]}{own}")


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
