"""What do the networks get to see? Generate some images in FP32 and keep examples of every network's calls.

Quantizers that round activations take their ranges from these. The prompts are others than those that are evaluated.
An architecture with random weights generates one image in two steps: its numbers mean nothing, their shapes do.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.memory import check_memory
from stages.lib.project.params import PARAMS_FILE, Params, load_params
from stages.lib.project.prompts import Prompt, load_prompts, same_text

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from stages.lib.models.calls import NetworkCall

RANDOM_IMAGES, RANDOM_STEPS = 1, 2  # of an architecture


def calibration_prompts(params: Params) -> list[Prompt]:
    """The prompts that are generated; a UserError if there are too few of them or one is evaluated as well."""
    path, count = Path(params.calibration.file), params.calibration.images
    prompts = load_prompts(path, None, f"in {PARAMS_FILE}, key 'calibration.file'")
    if len(prompts) < count:
        raise UserError(
            f"{PARAMS_FILE}: 'calibration.images' has the value {count}, but {path} has {len(prompts)} prompts: "
            "lower it or add rows"
        )
    evaluated = {same_text(item.prompt) for item in load_prompts(Path(params.prompts.file), None)}
    for prompt in prompts:
        if same_text(prompt.prompt) in evaluated:
            raise UserError(
                f"{path}: prompt '{prompt.prompt}' stands in {params.prompts.file} too: what is evaluated must not be "
                "calibrated with, so replace it"
            )
    return prompts[:count]


def collect(
    pipeline: "DiffusionPipeline", prompts: list[Prompt], arguments: dict[str, Any], denoiser_calls: int, seed: int
) -> "dict[str, list[NetworkCall]]":
    """The calls of each network while `pipeline` generates `prompts`, FP32 on the CPU.

    Of each image's calls of a denoiser, `denoiser_calls` are kept (all, if there are fewer), chosen by `seed`.
    """
    import torch

    from stages.lib.generation.noise import initial_latents
    from stages.lib.generation.safety import decide
    from stages.lib.generation.sampling import generate_image
    from stages.lib.models.call_arguments import named_failure, noise_shape
    from stages.lib.models.watch import Watch

    shape = noise_shape(pipeline, arguments)[1:]
    choice = torch.Generator().manual_seed(seed)
    found: dict[str, list[NetworkCall]] = {}
    for prompt in tqdm(prompts, desc="calibrate", unit="image", mininterval=1, disable=None):
        watch = Watch(keep=True)
        with named_failure(pipeline, arguments, watch), watch.watching(pipeline):
            noise = initial_latents(shape, prompt.seed)
            image = generate_image(pipeline, "FP32", prompt.prompt, noise, prompt.seed, arguments)
            check_size(image.size, arguments)
            decide(pipeline, image)
        for name, calls in watch.calls.items():
            kept = range(len(calls))
            if any(seen.step for seen in calls[:-1]):  # called in every step
                kept = torch.randperm(len(calls), generator=choice)[:denoiser_calls].sort().values.tolist()
            found.setdefault(name, []).extend(
                replace(calls[number].call, used=tuple(sorted(calls[number].used))) for number in kept
            )
    return found


def check_size(made: tuple[int, int], arguments: dict[str, Any]) -> None:
    """UserError where only one side is given and an image of `made` pixels, width and height, has another one.

    Stable Diffusion heeds neither then.
    """
    asked = {name: arguments[name] for name in ("width", "height") if arguments.get(name)}
    sides = dict(zip(("width", "height"), made, strict=True))
    if len(asked) == 1 and not asked.items() <= sides.items():
        raise UserError(
            f"{PARAMS_FILE}: the model's `arguments` say {asked}, but the pipeline makes {made[0]} x {made[1]} pixels: "
            "give height and width, both"
        )


def main() -> None:
    """Generate, write, print one line."""
    options = command_line(__doc__, "base", output="safetensors file to write")
    begin_s = time.perf_counter()
    params = load_params()
    prompts = calibration_prompts(params)

    # torch takes a second to import: a mistake in the inputs is told before.
    from stages.lib.generation.sampling import quiet_safety_checker, use_deterministic_algorithms
    from stages.lib.models.assembly import load_pipeline
    from stages.lib.models.calibration import write_calls
    from stages.lib.models.call_arguments import arguments_of
    from stages.lib.models.components import headers
    from stages.lib.models.kinds import kind_of

    kind = kind_of(options.base)
    arguments = arguments_of(params, kind.pipeline_class())
    if params.not_generated:
        prompts, arguments = prompts[:RANDOM_IMAGES], arguments | {"num_inference_steps": RANDOM_STEPS}
    elements = sum(item.elements for name in kind.networks for item in headers(options.base, name))
    check_memory(4 * elements, "generation in FP32")
    use_deterministic_algorithms()
    quiet_safety_checker()
    calibration = params.calibration
    calls = collect(load_pipeline(options.base), prompts, arguments, calibration.denoiser_calls, calibration.seed)
    write_calls(options.output, calls)
    counts = ", ".join(f"{len(items)} {component}" for component, items in calls.items())
    print(f"calibrate: calls in {counted(len(prompts), 'image')} ({counts}), {time.perf_counter() - begin_s:.1f} s")


if __name__ == "__main__":
    run_stage(main)
