"""How fast is every variant now? Fresh speed-ups over the baseline, and over FP32 in the variant's own runtime.

`python -m tools.benchmark` times the models that `dvc repro` made, each against the baseline and against FP32 of its
own runtime, two processes in alternation and in several restarts as the stage `benchmark` does. Intervals are 95 %, not
widened by the band of the baseline against itself, which has a row of its own. Nothing is written.
"""

import argparse
from pathlib import Path

from stages.benchmark import ROLES, task_of, timing_report
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json
from stages.lib.project.measurement import Measurement
from stages.lib.project.params import Params, Variant, load_params
from stages.lib.timing.ratios import Ratio
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
    variants = [params.variant(name) for name in names if not params.variant(name).simulated]
    run = RUNS / params.model
    for path in (run / "noise.safetensors", ENVIRONMENT, *(run / "models" / variant.name for variant in variants)):
        if not path.exists():
            raise UserError(f"{path} is missing: run `dvc repro` first")
    print(f"{'variant':28}{'s an image':>12}  over {params.baseline:24}over FP32 of its runtime")
    for variant in variants:
        references = dict.fromkeys([params.baseline, own_float32(params, variant)])
        measured = [compare(params, variant.name, reference) for reference in references]
        shown = [f"{_spread(speedup):29}" for _, speedup in measured]
        if len(shown) == 1:
            shown.append("the same")
        print(f"{variant.label:28}{measured[0][0]:12.3f}  {''.join(shown)}", flush=True)


def own_float32(params: Params, variant: Variant) -> str:
    """The key of the FP32 variant of the same back end and device, else, where PyTorch runs it too, the baseline."""
    for other in params.variants.values():
        plain = (other.weights, other.compute in ("auto", "float32"), other.compile_mode) == ("float32", True, False)
        if plain and (other.backend, other.device) == (variant.backend, variant.device):
            return other.name
    return params.baseline


def compare(params: Params, name: str, reference: str) -> tuple[float, Ratio]:
    """Seconds an image of the variant `name`, and its speed-up over `reference`."""
    environment, run = read_json(ENVIRONMENT), RUNS / params.model
    variants = {role: params.variant(key) for role, key in zip(ROLES, (name, reference), strict=True)}
    tasks = {
        role: task_of(params, item.name, run / "models", run / "noise.safetensors", environment["threads"])
        for role, item in variants.items()
    }
    timing = timing_report(params, variants, tasks, environment)
    found = {item["name"]: Measurement.from_json(item) for item in timing["measurements"]}
    return found["latency_s"].median, Ratio(**timing["ratio"])


def _spread(speedup: Ratio) -> str:
    return f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


if __name__ == "__main__":
    run_stage(main)
