"""What does a variant draw?

Reads data/models/V, the stored noise and the prompts; writes data/images/V: one lossless PNG per prompt, drawn one at
a time, images.json, and latents.safetensors: the latents of the first prompts after every step. The same machine gives
the same bytes every time; the safety checker is asked about each finished picture and changes none. Of an architecture
with random weights nothing is drawn, and images.json says why.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.availability import obstacle_left_in, passed_on
from stages.lib.backends import BACKENDS
from stages.lib.devices import compute_dtype, resolve_device
from stages.lib.drawing import draw_picture, quiet_safety_checker, use_deterministic_algorithms
from stages.lib.errors import run_stage
from stages.lib.files import whole_folder, write_json
from stages.lib.memory import check_memory, loaded_bytes
from stages.lib.noise import read_noise
from stages.lib.params import load_params
from stages.lib.picture_folder import LISTING, rgb_sha256
from stages.lib.prompts import Prompt, load_prompts
from stages.lib.safety import decide, margin_fields
from stages.lib.trajectory import Recorder, write_trajectories

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


def draw_all(
    pipeline: "StableDiffusionPipeline",
    variant: str,
    prompts: list[Prompt],
    noise: Path,
    steps: int,
    guidance_scale: float,
    folder: Path,
    trajectories: int = 0,
) -> list[dict]:
    """Draw each prompt into `folder`, one in memory at a time; the entries of images.json, in order.

    The latents of the first `trajectories` prompts after every step are stored beside the pictures.
    """
    import numpy as np

    entries, recorded = [], {}
    for number, prompt in enumerate(tqdm(prompts, desc=f"generate {variant}", unit="picture", mininterval=1)):
        latents = read_noise(noise, prompt.id)
        on_step = recorded.setdefault(prompt.id, Recorder()) if number < trajectories else None
        picture = draw_picture(pipeline, variant, prompt.prompt, latents, steps, guidance_scale, on_step)
        picture.save(folder / f"{prompt.id}.png")
        entries.append(
            {
                "id": prompt.id,
                "kind": prompt.kind,
                "prompt": prompt.prompt,
                "seed": prompt.seed,
                "sha256": rgb_sha256(np.asarray(picture)),
                **margin_fields(decide(pipeline, picture)),
            }
        )
    write_trajectories(folder, recorded)
    return entries


def main() -> None:
    """Load, draw, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--model", type=Path, required=True, help="the variant's model folder")
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    if passed_on("generate", variant, obstacle_left_in(arguments.model), arguments.output):
        return
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    device = resolve_device(variant.device, params.device)
    listing = {"variant": variant.name, "device": device, "compute": compute_dtype(variant, device)}
    if params.not_drawn:
        with whole_folder(arguments.output) as folder:
            write_json(folder / LISTING, {**listing, "pictures": [], "not_drawn": params.not_drawn})
        print(f"generate: {variant.label} is not drawn ({params.not_drawn})")
        return
    if device == "cpu":
        check_memory(loaded_bytes(arguments.model, variant), f"drawing with {variant.label}")
    use_deterministic_algorithms()
    import torch

    quiet_safety_checker()
    pipeline = BACKENDS[variant.backend].load_module().load(arguments.model, variant, device)
    with whole_folder(arguments.output) as folder:
        entries = draw_all(
            pipeline,
            variant.name,
            prompts,
            arguments.noise,
            params.generation.steps,
            params.generation.guidance_scale,
            folder,
            params.quality.trajectory_prompts,
        )
        write_json(folder / LISTING, {**listing, "threads": torch.get_num_threads(), "pictures": entries})
    flagged = sum(entry["flagged"] for entry in entries)
    print(
        f"generate: {variant.label}, {len(entries)} pictures on {device}, {flagged} flagged by the safety checker, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
