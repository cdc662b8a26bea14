"""What does a variant draw?

Reads data/models/V, the stored noise and the prompts; writes data/images/V: one lossless PNG per prompt, images.json,
and latents.safetensors: the latents of the first prompts after every step. Pictures are drawn one at a time by as many
processes as the machine has room for. The same machine gives the same bytes every time; the safety checker is asked
about each finished picture and changes none. Of an architecture with random weights nothing is drawn, and images.json
says why.
"""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.generation.image_folder import LISTING, rgb_sha256
from stages.lib.generation.recipe import Order, Recipe
from stages.lib.generation.safety import margin_fields
from stages.lib.generation.step_latents import write_trajectories
from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder, write_json
from stages.lib.project.params import load_params
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.project.worker_pool import Crew
from stages.lib.timing.memory import check_memory, drawing_crew, loaded_bytes

PNG_EFFORT = 3  # of 9; a third of the time of the usual 6, and an eighth more bytes


def draw_all(recipe: Recipe, prompts: list[Prompt], crew: Crew, folder: Path, trajectories: int = 0) -> list[dict]:
    """Draw each prompt into `folder`, few in memory at a time; the entries of images.json, in order.

    The latents of the first `trajectories` prompts after every step are stored beside the pictures.
    """
    from PIL import Image

    orders = [Order(prompt, recorded=number < trajectories) for number, prompt in enumerate(prompts)]
    pictures = recipe.draw_all(orders, crew)
    entries, recorded = [], {}
    name = f"generate {recipe.variant.name}"
    progress = tqdm(pictures, desc=name, total=len(prompts), unit="picture", mininterval=1)
    for prompt, drawn in zip(prompts, progress, strict=True):
        if drawn.latents is not None:
            recorded[drawn.id] = drawn.latents
        Image.fromarray(drawn.rgb).save(folder / f"{prompt.id}.png", compress_level=PNG_EFFORT)
        entries.append(
            {
                "id": prompt.id,
                "kind": prompt.kind,
                "prompt": prompt.prompt,
                "seed": prompt.seed,
                "sha256": rgb_sha256(drawn.rgb),
                **margin_fields(drawn.decision),
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
    recipe = Recipe(arguments.model, variant, device, arguments.noise, params.generation)
    crew = drawing_crew(arguments.model, variant, device, len(prompts))
    with whole_folder(arguments.output) as folder:
        entries = draw_all(recipe, prompts, crew, folder, params.quality.trajectory_prompts)
        work = {"threads": crew.threads, "processes": crew.processes}
        write_json(folder / LISTING, {**listing, **work, "pictures": entries})
    flagged = sum(entry["flagged"] for entry in entries)
    print(
        f"generate: {variant.label}, {len(entries)} pictures on {device}, {flagged} flagged by the safety checker, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
