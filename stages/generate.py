"""What does a variant generate?

Reads models/V, the stored noise and the prompts; writes images/V: one lossless PNG per prompt, images.json,
and latents.safetensors: the latents of the first prompts after every step. Images are generated one at a time by as
many processes as the machine has room for, one for each GPU, or that a launcher starts, on all hosts together: no byte
tells how many they were. The same machine gives the same bytes every time; a run that was ended goes on with what is
missing. The safety checker is asked about each finished image and changes none. Of an architecture with random weights
nothing is generated, and images.json says why.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.generation.image_folder import LISTING
from stages.lib.generation.parts import Parts, ingredients
from stages.lib.generation.recipe import Order, Recipe, generation_pool
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import whole_folder, write_json
from stages.lib.project.memory import check_memory
from stages.lib.project.params import load_params
from stages.lib.project.prompts import load_prompts
from stages.lib.project.ranks import Ranks, launched_ranks
from stages.lib.project.worker_pool import WorkerPool, map_in_pool

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SHOWN_ELSEWHERE_S = 90  # a network file system may show a file so late to another host


def generate_missing(recipe: Recipe, orders: Sequence[Order], pool: WorkerPool, parts: Parts, ranks: Ranks) -> int:
    """Generate this process's share of the images that are not there, few in memory at a time; how many it was."""
    if ranks.rank == 0:
        parts.begin()
    missing = ranks.told([number for number, order in enumerate(orders) if not parts.has(order)])
    if ranks.meets:
        _seen(parts.folder.is_dir, f"{parts.folder} of the first process is not seen by process {ranks.rank}")
        share = missing[ranks.rank :: ranks.world]
    else:
        share = [number for number in missing if number % ranks.world == ranks.rank]
    if share:
        do = partial(_generate, recipe, parts)
        images = map_in_pool(recipe.load, do, [orders[number] for number in share], pool)
        name = f"generate {recipe.variant.name}"
        for _ in tqdm(images, name, len(share), unit="image", mininterval=1, disable=None if ranks.rank == 0 else True):
            pass
    ranks.wait()
    return len(share)


def _generate(recipe: Recipe, parts: Parts, pipeline: "DiffusionPipeline", order: Order) -> None:
    parts.write(order, recipe.generate(pipeline, order))


def _seen(is_so: Callable[[], bool], otherwise: str) -> None:
    end_s = time.monotonic() + SHOWN_ELSEWHERE_S
    while not is_so():
        if time.monotonic() > end_s:
            raise UserError(f"{otherwise}: the output must lie in a folder that all hosts share")
        time.sleep(1)


def main() -> None:
    """Load, generate, write, print one line."""
    arguments = command_line(
        __doc__, "variant", "noise", model="the variant's model folder", output="folder for the images"
    )
    params = load_params()
    variant = params.variant(arguments.variant)
    if passed_on("generate", variant, obstacle_left_in(arguments.model), arguments.output):
        return
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    device = resolve_device(variant.device, params.device)
    listing = {"variant": variant.name, "device": device, "compute": compute_dtype(variant, device)}
    if params.not_generated:
        with whole_folder(arguments.output) as folder:
            write_json(folder / LISTING, {**listing, "per_image": [], "not_generated": params.not_generated})
        print(f"generate: {variant.label} is not generated ({params.not_generated})")
        return
    if device == "cpu":
        check_memory(loaded_bytes(arguments.model, variant), f"generation with {variant.label}")
    kind = kind_of(arguments.model)
    call = arguments_of(params, kind.pipeline_class())
    recipe = Recipe(arguments.model, variant, device, arguments.noise, call)
    pool = generation_pool(arguments.model, variant, device, len(prompts))
    orders = [
        Order(prompt, recorded=number < params.quality.trajectory_prompts) for number, prompt in enumerate(prompts)
    ]
    made_from = ingredients(recipe, pool.threads)
    parts = Parts.beside(arguments.output, made_from)
    try:
        with launched_ranks(os.environ) as ranks:
            ranks.check_same(made_from)
            generated = generate_missing(recipe, orders, pool, parts, ranks)
    finally:
        parts.forget_if_empty()
    if ranks.meets and ranks.rank > 0:
        return
    if ranks.meets:
        _seen(lambda: all(map(parts.lists, orders)), f"images of other processes do not come to {parts.folder}")
    entries = None
    if all(map(parts.lists, orders)):
        entries = parts.join(orders, {**listing, "threads": pool.threads, "arguments": call})
    if entries is None:  # in a Slurm array the last one joins
        part = f"share {ranks.rank} of {ranks.world}, {counted(generated, 'image')}"
        print(f"generate: {variant.label}, {part}, {arguments.took}")
        return
    flagged, cut = sum(entry["flagged"] for entry in entries), sum("cuts" in entry for entry in entries)
    longer = f"{counted(cut, 'prompt')} longer than a text encoder takes, " if cut else ""
    there = "" if ranks.world > 1 or generated == len(orders) else f"{len(orders) - generated} of them were there, "
    checked = f"{flagged} flagged by the safety checker, " if kind.of_role("safety_checker") else ""
    made = counted(len(entries), "image")
    print(f"generate: {variant.label}, {made} on {device}, {checked}{longer}{there}{arguments.took}")


if __name__ == "__main__":
    run_stage(main)
