"""What does a variant draw?

Reads data/models/V, the stored noise and the prompts; writes data/images/V: one lossless PNG per prompt, drawn one at
a time, and images.json. The same machine gives the same bytes every time; the safety checker is asked about each
finished picture and changes none.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.backends import BACKENDS
from stages.lib.devices import compute_dtype, resolve_device
from stages.lib.drawing import draw_picture, quiet_safety_checker, use_deterministic_algorithms
from stages.lib.errors import run_stage
from stages.lib.files import whole_folder, write_json
from stages.lib.noise import read_noise
from stages.lib.params import load_params
from stages.lib.picture_folder import LISTING, rgb_sha256
from stages.lib.prompts import Prompt, load_prompts
from stages.lib.safety import decide, margin_fields

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
) -> list[dict]:
    """Draw each prompt into `folder`, one in memory at a time; the entries of images.json, in order."""
    import numpy as np

    entries = []
    for prompt in tqdm(prompts, desc=f"generate {variant}", unit="picture", mininterval=1):
        latents = read_noise(noise, prompt.id)
        picture = draw_picture(pipeline, variant, prompt.prompt, latents, steps, guidance_scale)
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
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    device = resolve_device(variant.device, params.device)
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
        )
        listing = {
            "variant": variant.name,
            "device": device,
            "compute": compute_dtype(variant, device),
            "threads": torch.get_num_threads(),
            "pictures": entries,
        }
        write_json(folder / LISTING, listing)
    flagged = sum(entry["flagged"] for entry in entries)
    print(
        f"generate: {variant.label}, {len(entries)} pictures on {device}, {flagged} flagged by the safety checker, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
