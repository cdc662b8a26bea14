"""How much do images change when nothing does? The baseline against itself, and against other seeds.

Reads the baseline's model and images, the stored noise and the prompts; generates some of the images again: in another
run, with another number of threads, in another number of processes, and from other seeds. Writes reports/M/floor.json:
how far those are from the stored images, in the same measures as every variant. No difference between formats that
is smaller than that of a rerun means anything; one that is as large as that of another seed has changed everything.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.formats.shared.devices import resolve_device
from stages.lib.generation.image_folder import StoredImage, not_generated, read_images, read_listing, read_rgb
from stages.lib.generation.recipe import Generated, Order, Recipe, generation_pool
from stages.lib.generation.step_latents import compare_trajectories, read_trajectories
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params
from stages.lib.project.prompts import Prompt, load_prompts, sample_of
from stages.lib.project.sections import Quality
from stages.lib.project.worker_pool import WorkerPool
from stages.lib.quality.artefacts import figures_of as appearance_of
from stages.lib.quality.detection import false_alarms
from stages.lib.quality.figures import compare_sets, distribution, paired_figures

if TYPE_CHECKING:
    from stages.lib.quality.clip_features import Clip


def draw_again(recipe: Recipe, prompts: list[Prompt], seed_prompts: list[Prompt], pool: WorkerPool) -> dict[str, dict]:
    """By run: how it was generated, and its images. `pool` is who drew the stored ones.

    `seeds` are from other seeds, the rest from the stored noise.
    """
    again = [Order(prompt) for prompt in prompts]
    generated = list(recipe.generate_all([*again, *(Order(prompt, other_seed=True) for prompt in seed_prompts)], pool))
    found = {"again": (pool, generated[: len(again)]), "seeds": (pool, generated[len(again) :])}
    for name, other in other_pools(pool).items():
        found[name] = other, list(recipe.generate_all(again, other))
    return {name: {**asdict(who), "generated": images} for name, (who, images) in found.items()}


def other_pools(pool: WorkerPool) -> dict[str, WorkerPool]:
    """Half as many threads (two in place of one), and one process in place of several (two in place of one)."""
    return {
        "threads": WorkerPool(1, pool.threads // 2 if pool.threads > 1 else 2),
        "processes": WorkerPool(1 if pool.processes > 1 else 2, pool.threads),
    }


def figures_of(
    generated: list[Generated], images: dict[str, StoredImage], latents: dict, clip: "Clip | None", settings: Quality
) -> dict:
    """The figures of one run against the stored images and latents, as in reports/M/quality."""
    # the safety checker is not asked about an image that is generated again
    regenerated = ((images[item.id], replace(images[item.id], flagged=False), item.rgb) for item in generated)
    pairs, features = compare_sets(
        ((reference, image, read_rgb(reference), rgb) for reference, image, rgb in regenerated), clip
    )
    return {
        **paired_figures(pairs, features, settings),
        "distribution": distribution(features, settings),
        "trajectory": compare_trajectories(latents, {item.id: item.latents for item in generated}),
    }


def alarms_of(generated: list[Generated], images: dict[str, StoredImage], settings: Quality) -> dict:
    """How often each measure of damage would be graded on images as good as the stored ones, from other seeds."""
    before = [appearance_of(read_rgb(images[item.id])) for item in generated]
    after = [appearance_of(item.rgb) for item in generated]
    return {"trials": settings.resamples, "rates": false_alarms(before, after, settings.resamples, settings.seed)}


def main() -> None:
    """Generate, compare, write, print one line."""
    arguments = command_line(
        __doc__, "models", "images", "noise", "output", base="the base model, which may bring a CLIP"
    )
    params = load_params()
    settings, baseline = params.quality, params.variant(params.baseline)
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    folder = arguments.images / baseline.name
    names = {"baseline": baseline.name, "label": baseline.label}
    if reason := not_generated(folder):
        write_json(arguments.output, {**names, "measured": False, "reason": reason})
        print(f"floor: {baseline.label} is not generated again ({reason})")
        return
    listing, images, latents = read_listing(folder), read_images(folder), read_trajectories(folder)
    device = resolve_device(baseline.device, params.device)
    model = arguments.models / baseline.name
    call = arguments_of(params, kind_of(model).pipeline_class())
    recipe = Recipe(model, baseline, device, arguments.noise, call)
    chosen = sample_of(prompts, settings.floor_prompts, settings.trajectory_prompts)
    pool = replace(generation_pool(model, baseline, device, len(prompts)), threads=listing["threads"])
    runs = draw_again(recipe, chosen, sample_of(prompts, settings.floor_seeds), pool)
    from stages.lib.quality.clip_features import find_clip

    clip = find_clip(arguments.base)  # now: it leaves threads, beside which no process is forked
    runs["seeds"]["false_alarms"] = alarms_of(runs["seeds"]["generated"], images, settings)
    for run in runs.values():
        run |= figures_of(run.pop("generated"), images, latents, clip, settings)
    seeds = runs.pop("seeds")
    write_json(arguments.output, {**names, "measured": True, "device": device, "runs": runs, "seeds": seeds})
    identical = ", ".join(f"{name} {run['identical']} of {run['images']}" for name, run in runs.items())
    print(f"floor: {baseline.label} generated again, identical: {identical}, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)
