"""How far are a variant's images from the baseline's, and do they still show what was asked for?

Reads images/V, images/BASELINE and the base model's CLIP, if it brings one; writes quality/V.json:
distances, CLIP score and attributes of each image, their averages with 95 % intervals, the distance between the two
sets, the latents' signal-to-noise ratio after every step, and the safety checker's decisions. What cannot be measured
is given with its reason; where nothing was generated, `measured` is false and `reason` says why.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.generation.image_folder import check_same_prompts, not_generated, read_images, read_rgb
from stages.lib.generation.step_latents import compare_trajectories, read_trajectories
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params
from stages.lib.project.sections import Quality
from stages.lib.quality.figures import Features, Pair, compare_sets, distribution, paired_figures
from stages.lib.quality.metrics import rate_psnr

if TYPE_CHECKING:
    from stages.lib.quality.clip_features import Clip


def compare_folders(reference: Path, folder: Path, clip: "Clip | None") -> tuple[list[Pair], Features | None]:
    """Each image of `reference` with its counterpart in `folder`, in order; a few pairs are in memory at a time."""
    references, images = read_images(reference), read_images(folder)
    check_same_prompts((reference, folder), (references, images))

    def pairs() -> Iterator:
        for id in tqdm(references, desc="evaluate", unit="image", mininterval=1):
            yield references[id], images[id], read_rgb(references[id]), read_rgb(images[id])

    return compare_sets(pairs(), clip)


def quality_of(pairs: list[Pair], features: Features | None, settings: Quality) -> dict:
    """The figures of reports/M/quality that come from images, without the names of the variants."""
    figures = paired_figures(pairs, features, settings)
    for row, pair in zip(figures["per_image"], pairs, strict=True):
        row |= {"rating": rate_psnr(pair.distances.psnr_db), "flagged": pair.image.flagged}
    return {
        **figures,
        "ssim_minimum": min(pair.distances.ssim for pair in pairs),
        "flagged": sum(pair.image.flagged for pair in pairs),
        "baseline_flagged": sum(pair.reference.flagged for pair in pairs),
        "distribution": distribution(features, settings),
    }


def main() -> None:
    """Compare, write the figures, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder of images per variant")
    parser.add_argument("--base", type=Path, required=True, help="the base model, which may bring a CLIP")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    if passed_on("evaluate", variant, obstacle_left_in(arguments.images / variant.name), arguments.output):
        return
    from stages.lib.quality.clip_features import find_clip  # not before a mistake in params.yaml has been told

    names = {"variant": variant.name, "label": variant.label, "baseline": params.baseline}
    reason = not_generated(arguments.images / variant.name)
    if reason:
        write_json(arguments.output, {**names, "measured": False, "reason": reason, "per_image": []})
        print(f"evaluate: {variant.label} is not compared ({reason})")
        return
    folders = arguments.images / params.baseline, arguments.images / variant.name
    quality = quality_of(*compare_folders(*folders, find_clip(arguments.base)), params.quality)
    quality["trajectory"] = compare_trajectories(*(read_trajectories(folder) for folder in folders))
    write_json(arguments.output, {**names, "measured": True, **quality})
    psnr = "no PSNR" if quality["psnr_db"] is None else f"PSNR {quality['psnr_db']:.1f} dB"
    print(
        f"evaluate: {variant.label} against {params.baseline}, {psnr}, SSIM {quality['ssim']:.3f}, "
        f"{quality['identical']} of {quality['images']} images identical, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
