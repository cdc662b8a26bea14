"""What does a variant generate?

Reads models/V, the stored noise and the prompts; writes images/V: one lossless PNG per prompt, images.json,
and latents.safetensors: the latents of the first prompts after every step. Images are generated one at a time by as
many processes as the machine has room for. The same machine gives the same bytes every time; the safety checker is
asked about each finished image and changes none. Of an architecture with random weights nothing is generated, and
images.json says why.
"""

from pathlib import Path

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.generation.image_folder import LISTING, rgb_sha256
from stages.lib.generation.recipe import Order, Recipe, generation_pool
from stages.lib.generation.safety import margin_fields
from stages.lib.generation.step_latents import write_trajectories
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder, write_json
from stages.lib.project.memory import check_memory
from stages.lib.project.params import load_params
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.project.worker_pool import WorkerPool

PNG_EFFORT = 3  # of 9; a third of the time of the usual 6, and an eighth more bytes


def generate_all(
    recipe: Recipe, prompts: list[Prompt], pool: WorkerPool, folder: Path, trajectories: int = 0
) -> tuple[list[dict], dict]:
    """Generate each prompt into `folder`, few in memory at a time; the entries of images.json, in order, and how the
    denoiser was called for the last of them.

    The latents of the first `trajectories` prompts after every step are stored beside the images.
    """
    from PIL import Image

    orders = [Order(prompt, recorded=number < trajectories) for number, prompt in enumerate(prompts)]
    images = recipe.generate_all(orders, pool)
    entries, recorded = [], {}
    name = f"generate {recipe.variant.name}"
    progress = tqdm(images, desc=name, total=len(prompts), unit="image", mininterval=1)
    for prompt, generated in zip(prompts, progress, strict=True):
        if generated.latents is not None:
            recorded[generated.id] = generated.latents
        Image.fromarray(generated.rgb).save(folder / f"{prompt.id}.png", compress_level=PNG_EFFORT)
        entries.append(
            {
                "id": prompt.id,
                "kind": prompt.kind,
                "prompt": prompt.prompt,
                "seed": prompt.seed,
                "sha256": rgb_sha256(generated.rgb),
                **margin_fields(generated.decision),
                **generated.seen.reading(),
            }
        )
    write_trajectories(folder, recorded)
    return entries, generated.seen.denoising()


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
    call = arguments_of(params, kind_of(arguments.model).pipeline_class())
    recipe = Recipe(arguments.model, variant, device, arguments.noise, call)
    pool = generation_pool(arguments.model, variant, device, len(prompts))
    with whole_folder(arguments.output) as folder:
        entries, denoising = generate_all(recipe, prompts, pool, folder, params.quality.trajectory_prompts)
        work = {"threads": pool.threads, "processes": pool.processes}
        write_json(
            folder / LISTING, {**listing, **work, "arguments": call, "denoising": denoising, "per_image": entries}
        )
    flagged, cut = sum(entry["flagged"] for entry in entries), sum("cuts" in entry for entry in entries)
    longer = f"{cut} prompts longer than a text encoder takes, " if cut else ""
    print(
        f"generate: {variant.label}, {len(entries)} images on {device}, {flagged} flagged by the safety checker, "
        f"{longer}{arguments.took}"
    )


if __name__ == "__main__":
    run_stage(main)
