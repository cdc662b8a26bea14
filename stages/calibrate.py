"""What do the networks get to see? Generate some images in FP32 and keep examples of every network's inputs.

Quantizers that round activations take their ranges from these. The prompts are others than those that are evaluated.
An architecture with random weights generates nothing: its networks get noise and the tokens of a prompt.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.memory import check_memory
from stages.lib.project.params import COMPONENTS, PARAMS_FILE, Params, load_params
from stages.lib.project.prompts import Prompt, load_prompts, same_text

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline

    Inputs = dict[str, list[dict[str, torch.Tensor]]]

RANDOM_TIMESTEPS = [801, 201]  # of the random examples: an early and a late step


def calibration_prompts(params: Params) -> list[Prompt]:
    """The prompts that are generated; a UserError if there are too few of them or one is evaluated as well."""
    path, count = Path(params.calibration.file), params.calibration.images
    prompts = load_prompts(path, None)
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
    pipeline: "StableDiffusionPipeline",
    prompts: list[Prompt],
    steps: int,
    guidance_scale: float,
    unet_calls: int,
    seed: int,
) -> "Inputs":
    """Inputs of each component, FP32 on the CPU, named as in stages.lib.models.calibration.

    Of each image's U-Net calls, `unet_calls` are kept (all, if there are fewer), chosen by `seed`.
    """
    import torch

    from stages.lib.generation.noise import initial_latents

    inputs: Inputs = {"unet": [], "vae": [], "text_encoder": [], "safety_checker": []}
    calls: list[dict[str, torch.Tensor]] = []
    config = pipeline.unet.config
    size = config.sample_size
    shape = (config.in_channels, *((size, size) if isinstance(size, int) else size))
    choice = torch.Generator().manual_seed(seed)

    def see_unet(_: Any, arguments: tuple, options: dict) -> None:
        sample, timestep = arguments
        text = options["encoder_hidden_states"]
        calls.append({"sample": sample.clone(), "timestep": timestep.clone(), "text": text.clone()})

    def see_text_encoder(_: Any, arguments: tuple, options: dict) -> None:
        inputs["text_encoder"].append({"tokens": arguments[0].clone()})

    hooks = [
        pipeline.unet.register_forward_pre_hook(see_unet, with_kwargs=True),
        pipeline.text_encoder.register_forward_pre_hook(see_text_encoder, with_kwargs=True),
    ]
    try:
        for prompt in tqdm(prompts, desc="calibrate", unit="image", mininterval=1):
            calls.clear()
            latents = pipeline(
                prompt=prompt.prompt,
                latents=initial_latents(shape, prompt.seed),
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                output_type="latent",
            ).images
            kept = torch.randperm(len(calls), generator=choice)[:unet_calls].sort().values
            inputs["unet"] += [calls[number] for number in kept.tolist()]
            latents = latents / pipeline.vae.config.scaling_factor
            inputs["vae"].append({"latents": latents})
            with torch.no_grad():
                decoded = pipeline.vae.decode(latents, return_dict=False)[0]
            image = pipeline.image_processor.postprocess(decoded, output_type="pil")
            pixels = pipeline.feature_extractor(image, return_tensors="pt").pixel_values
            inputs["safety_checker"].append({"pixels": pixels})
    finally:
        for hook in hooks:
            hook.remove()
    return inputs


def random_inputs(base: Path, prompts: list[Prompt], timesteps: list[int], seed: int) -> "Inputs":
    """One example of each network's inputs per prompt, of the right shapes: noise from `seed`, the prompt's tokens.

    Ranges that are taken from them say nothing about a trained model; they are there so that a network can be made and
    its size, memory and time be measured.
    """
    import torch
    from transformers import CLIPTokenizer

    from stages.lib.models.components import empty_component

    unet, text_encoder, checker = (
        empty_component(base, name).config for name in ("unet", "text_encoder", "safety_checker")
    )
    length = text_encoder.max_position_embeddings
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    side = checker.vision_config.image_size
    latents = (unet.in_channels, *([unet.sample_size] * 2 if isinstance(unet.sample_size, int) else unet.sample_size))
    generator = torch.Generator().manual_seed(seed)
    inputs: Inputs = {"unet": [], "vae": [], "text_encoder": [], "safety_checker": []}
    for prompt, timestep in zip(prompts, timesteps, strict=True):
        tokens = tokenizer(prompt.prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        text = torch.randn((2, length, unet.cross_attention_dim), generator=generator)
        sample = torch.randn((2, *latents), generator=generator)
        inputs["unet"].append({"sample": sample, "timestep": torch.tensor(timestep), "text": text})
        inputs["vae"].append({"latents": torch.randn((1, *latents), generator=generator)})
        inputs["text_encoder"].append({"tokens": tokens.input_ids})
        inputs["safety_checker"].append({"pixels": torch.randn((1, 3, side, side), generator=generator)})
    return inputs


def generated_inputs(base: Path, prompts: list[Prompt], params: Params) -> "Inputs":
    """What the networks of the FP32 pipeline in `base` see while it generates `prompts`; see `collect`."""
    from stages.lib.generation.sampling import use_deterministic_algorithms
    from stages.lib.models.components import assemble, headers, load_component

    check_memory(4 * sum(item.elements for name in COMPONENTS for item in headers(base, name)), "generation in FP32")
    use_deterministic_algorithms()
    pipeline = assemble(base, {name: load_component(base, name, "float32") for name in COMPONENTS})
    # The checker would blacken an image; it is asked about none here.
    pipeline.register_modules(safety_checker=None)
    generation, calibration = params.generation, params.calibration
    return collect(
        pipeline,
        prompts,
        generation.steps,
        generation.guidance_scale,
        calibration.unet_calls,
        calibration.seed,
    )


def main() -> None:
    """Generate, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the checked pipeline folder")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    prompts = calibration_prompts(params)

    # torch takes a second to import: a mistake in the inputs is told before.
    from stages.lib.models.calibration import write_inputs

    if params.chosen_model.source == "architecture":
        prompts = prompts[: len(RANDOM_TIMESTEPS)]
        timesteps = RANDOM_TIMESTEPS[: len(prompts)]
        inputs, source = random_inputs(arguments.base, prompts, timesteps, params.calibration.seed), "random examples"
    else:
        inputs, source = generated_inputs(arguments.base, prompts, params), "images"
    write_inputs(arguments.output, inputs)
    counts = ", ".join(f"{len(items)} {component}" for component, items in inputs.items())
    print(f"calibrate: inputs of {len(prompts)} {source} ({counts}), {time.perf_counter() - begin_s:.1f} s")


if __name__ == "__main__":
    run_stage(main)
