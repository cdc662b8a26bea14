"""Which component does a format hurt?

The first prompts are generated with every combination of U-Net, VAE, text encoder and safety checker in a format and
the others in FP32. Text encoder and U-Net decide the latents, so four denoisings serve all sixteen combinations; the
others decode and check again what is there.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import COMPONENTS, load_params
from stages.lib.project.worker_pool import map_in_pool

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline

    from stages.lib.project.prompts import Prompt
    from stages.lib.sensitivity.combinations import Generated
    from stages.lib.sensitivity.swapping import Opened, Studio


def generate_combinations(
    pipeline: "StableDiffusionPipeline",
    reference: Mapping[str, Any],
    quantized: Mapping[str, Any],
    prompt: str,
    noise: "torch.Tensor",
    steps: int,
    guidance_scale: float,
    name: str,
    plain_latents: "torch.Tensor | None" = None,
) -> "dict[frozenset[str], Generated]":
    """One prompt with every combination of `reference` and `quantized` networks, by the set of quantized components.

    `plain_latents`, those of the FP32 text encoder and U-Net, are generated if they are not given.
    """
    from stages.lib.sensitivity.combinations import Generated
    from stages.lib.sensitivity.probe_points import safety_margin
    from stages.lib.sensitivity.swapping import checker_input, decode, denoise, encode

    def group(**chosen: bool) -> frozenset[str]:
        return frozenset(component for component, is_quantized in chosen.items() if is_quantized)

    networks = {False: reference, True: quantized}
    found = {}
    for text_encoder in (False, True):
        text = encode(pipeline, networks[text_encoder]["text_encoder"], prompt, guidance_scale > 1)
        for unet in (False, True):
            latents = None if text_encoder or unet else plain_latents
            if latents is None:
                latents = denoise(pipeline, networks[unet]["unet"], text, noise, steps, guidance_scale, name)
            for vae in (False, True):
                image = decode(pipeline, networks[vae]["vae"], latents, name)
                pixels = checker_input(pipeline, image)
                for checker in (False, True):
                    margin = safety_margin(networks[checker]["safety_checker"], pixels)
                    key = group(text_encoder=text_encoder, unet=unet, vae=vae, safety_checker=checker)
                    found[key] = Generated(text.prompt, latents, image, margin)
    return found


def generate_prompt(
    studio: "Studio", opened: "Opened", prompt: "Prompt"
) -> "dict[str, dict[frozenset[str], Generated]]":
    """One prompt with every combination of each format, by the format's name; FP32 is generated once for all."""
    from stages.lib.generation.noise import read_noise

    pipeline = opened.pipeline
    reference = {component: getattr(pipeline, component) for component in COMPONENTS}
    noise, settings = read_noise(studio.noise, prompt.id), studio.generation
    found: dict[str, dict[frozenset[str], Generated]] = {}
    latents = None
    for name, quantized in opened.networks.items():
        words = prompt.prompt, noise, settings.steps, settings.guidance_scale, name
        found[name] = generate_combinations(pipeline, reference, quantized, *words, latents)
        latents = found[name][frozenset()].latents
    for component, network in reference.items():  # the next prompt starts from FP32 again
        setattr(pipeline, component, network)
    return found


def main() -> None:
    """Generate, compare, write, print one line."""
    arguments = command_line(__doc__, "base", "calibration", "noise", "output")
    begin_s = time.perf_counter()
    params = load_params()
    if reason := params.not_generated:
        write_json(arguments.output, {"measured": False, "reason": reason})
        print(f"sensitivity_components: not measured ({reason})")
        return

    from stages.lib.formats.shared.devices import resolve_device
    from stages.lib.sensitivity.combinations import format_report
    from stages.lib.sensitivity.swapping import Studio, sensitivity_prompts

    prompts = sensitivity_prompts(params)
    items = params.sensitivity.formats
    studio = Studio(
        arguments.base,
        arguments.calibration,
        arguments.noise,
        resolve_device("auto", params.device),
        params.generation,
        {name: item.variant(name) for name, item in items.items()},
    )
    images = map_in_pool(studio.open, partial(generate_prompt, studio), prompts, studio.pool(len(prompts)))
    generated = list(tqdm(images, "sensitivity components", len(prompts), unit="image", mininterval=1))
    resampling = params.quality.resamples, params.quality.seed
    formats = [
        {"format": name, "label": item.label, "weights": item.weights, "activations": item.activations}
        | format_report([combinations[name] for combinations in generated], *resampling)
        for name, item in items.items()
    ]
    report = {"images": len(prompts), "ids": [prompt.id for prompt in prompts], "formats": formats}
    write_json(arguments.output, report)
    image = formats[-1]["probe_points"]["image"]
    worst = max(image["components"], key=lambda row: row["shapley"])
    share = f"{100 * worst['share']:.0f} % of it from '{worst['component']}'" if image["leader"] else "no damage"
    if image["leader"] and not image["tells"]:
        share += f", which {len(prompts)} images cannot tell of others"
    print(
        f"sensitivity_components: {2 ** len(COMPONENTS)} combinations of {len(formats)} formats, {len(prompts)} "
        f"images; damage by {formats[-1]['label']}: {share}, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
