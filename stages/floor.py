"""How much do pictures change when nothing does? The baseline against itself, and against other seeds.

Reads the baseline's model and pictures, the stored noise and the prompts; draws some of the pictures again: in another
run, with another number of threads, in another number of processes, and from other seeds. Writes reports/floor.json:
how far those are from the stored pictures, in the same measures as every variant. No difference between formats that
is smaller than that of a rerun means anything; one that is as large as that of another seed has changed everything.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.formats.shared.devices import resolve_device
from stages.lib.generation.image_folder import Picture, not_drawn, read_listing, read_pictures, read_rgb
from stages.lib.generation.recipe import Drawn, Order, Recipe, sample_of
from stages.lib.generation.step_latents import compare_trajectories, read_trajectories
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import Quality, load_params
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.project.worker_pool import Crew
from stages.lib.quality.figures import compare_sets, distribution, paired_figures

if TYPE_CHECKING:
    from stages.lib.quality.clip_features import Clip


def draw_again(recipe: Recipe, prompts: list[Prompt], seed_prompts: list[Prompt], crew: Crew) -> dict[str, dict]:
    """By run: how it was drawn, and its pictures. `crew` is who drew the stored ones.

    `seeds` are from other seeds, the rest from the stored noise.
    """
    again = [Order(prompt) for prompt in prompts]
    drawn = list(recipe.draw_all([*again, *(Order(prompt, other_seed=True) for prompt in seed_prompts)], crew))
    found = {"again": (crew, drawn[: len(again)]), "seeds": (crew, drawn[len(again) :])}
    for name, other in other_crews(crew).items():
        found[name] = other, list(recipe.draw_all(again, other))
    return {name: {**asdict(who), "drawn": pictures} for name, (who, pictures) in found.items()}


def other_crews(crew: Crew) -> dict[str, Crew]:
    """Half as many threads (two in place of one), and one process in place of several (two in place of one)."""
    return {
        "threads": Crew(1, crew.threads // 2 if crew.threads > 1 else 2),
        "processes": Crew(1 if crew.processes > 1 else 2, crew.threads),
    }


def figures_of(
    drawn: list[Drawn], pictures: dict[str, Picture], latents: dict, clip: "Clip | None", settings: Quality
) -> dict:
    """The figures of one run against the stored pictures and latents, as in reports/quality."""
    # the safety checker is not asked about a picture that is drawn again
    redrawn = ((pictures[item.id], replace(pictures[item.id], flagged=False), item.rgb) for item in drawn)
    pairs, features = compare_sets(
        ((reference, picture, read_rgb(reference), rgb) for reference, picture, rgb in redrawn), clip
    )
    return {
        **paired_figures(pairs, features, settings),
        "distribution": distribution(features, settings),
        "trajectory": compare_trajectories(latents, {item.id: item.latents for item in drawn}),
    }


def main() -> None:
    """Draw, compare, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the base model, which may bring a CLIP")
    parser.add_argument("--models", type=Path, required=True, help="folder with the baseline's model")
    parser.add_argument("--images", type=Path, required=True, help="folder with the baseline's pictures")
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    settings, baseline = params.quality, params.variant(params.baseline)
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    folder = arguments.images / baseline.name
    names = {"baseline": baseline.name, "label": baseline.label}
    if reason := not_drawn(folder):
        write_json(arguments.output, {**names, "measured": False, "reason": reason})
        print(f"floor: {baseline.label} is not drawn again ({reason})")
        return
    listing, pictures, latents = read_listing(folder), read_pictures(folder), read_trajectories(folder)
    from stages.lib.quality.clip_features import find_clip

    clip = find_clip(arguments.base)
    device = resolve_device(baseline.device, params.device)
    recipe = Recipe(arguments.models / baseline.name, baseline, device, arguments.noise, params.generation)
    chosen = sample_of(prompts, settings.floor_prompts, settings.trajectory_prompts)
    crew = Crew(listing["processes"], listing["threads"])
    runs = draw_again(recipe, chosen, sample_of(prompts, settings.floor_seeds), crew)
    for run in runs.values():
        run |= figures_of(run.pop("drawn"), pictures, latents, clip, settings)
    seeds = runs.pop("seeds")
    write_json(arguments.output, {**names, "measured": True, "device": device, "runs": runs, "seeds": seeds})
    identical = ", ".join(f"{name} {run['identical']} of {run['images']}" for name, run in runs.items())
    print(f"floor: {baseline.label} drawn again, identical: {identical}, {time.perf_counter() - begin_s:.1f} s")


if __name__ == "__main__":
    run_stage(main)
