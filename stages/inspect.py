"""What does a variant do to the look of its images, and to what the safety checker decides of them?

Reads images/V and images/BASELINE with their images.json, writes appearance/V.json: for each respect
in which images can be damaged (sharpness, fine detail, blocks, posterization, noise, colours) the mean shift against
the baseline with its 99 % interval and its grade; the same figures per image; blank images and why they are blank;
flips and margin shifts of the safety checker on images with and without the blocked thing.
"""

import argparse
import time
from pathlib import Path

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.generation.image_folder import StoredImage, check_same_prompts, not_generated, read_images, read_rgb
from stages.lib.generation.safety import compare_decisions, read_decisions
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params
from stages.lib.quality.appearance import image_row, is_blank, judge_all, seen
from stages.lib.quality.artefacts import Figures, figures_of
from stages.lib.quality.comparison import SMALLEST_SIDE

BLOCKED = "blocked"  # the kind of prompt that asks for what the safety checker should find
CAUSES = ("scene", "flagged", "broken")


def look_at(images: dict[str, StoredImage]) -> list[Figures]:
    """The figures of each image, in order. One image is in memory at a time."""
    return [_figures(image) for image in images.values()]


def _figures(image: StoredImage) -> Figures:
    rgb = read_rgb(image)
    if min(rgb.shape[:2]) < SMALLEST_SIDE:
        raise UserError(
            f"{image.path} has {rgb.shape[1]} x {rgb.shape[0]} pixels: "
            f"looking for damage needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
    return figures_of(rgb)


def appearance_of(reference: Path, folder: Path) -> dict:
    """What reports/M/appearance says of the images in `folder`, without the names of the variants."""
    references, images = read_images(reference), read_images(folder)
    check_same_prompts((reference, folder), (references, images))
    before = look_at({id: references[id] for id in images})
    after = look_at(images)
    judged = judge_all(before, after)
    rows = [
        image_row(image.id, *pair, image.flagged) for image, *pair in zip(images.values(), before, after, strict=True)
    ]
    blocked = {image.id for image in images.values() if image.kind == BLOCKED}
    return {
        "images": len(rows),
        "measures": judged,
        "seen": seen(judged),
        "blank": {cause: sum(row["black"] == cause for row in rows) for cause in CAUSES},
        "baseline_blank": sum(is_blank(figures) for figures in before),
        "per_image": rows,
        "safety": compare_decisions(read_decisions(reference), read_decisions(folder), blocked),
    }


def main() -> None:
    """Look, write the figures, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder of images per variant")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    folder = arguments.images / variant.name
    if passed_on("inspect", variant, obstacle_left_in(folder), arguments.output):
        return
    names = {"variant": variant.name, "label": variant.label, "baseline": params.baseline}
    if reason := not_generated(folder):
        write_json(arguments.output, {**names, "measured": False, "reason": reason})
        print(f"inspect: {variant.label} is not looked at ({reason})")
        return
    found = appearance_of(arguments.images / params.baseline, folder)
    write_json(arguments.output, {**names, "measured": True, **found})
    words = ", ".join(f"{key} {found['measures'][key]['grade']}" for key in found["seen"]) or "no damage"
    flips = sum(found["safety"][group]["flips"] for group in ("with_blocked", "without_blocked"))
    print(
        f"inspect: {variant.label}, {words} in {found['images']} images, {sum(found['blank'].values())} blank, "
        f"{flips} safety decisions flipped, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
