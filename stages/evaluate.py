"""How far are the images of each variant from the baseline's, do they still show what was asked for, are they damaged?

Reads all images and the base model's CLIP, if it brings one; every image is read once, by several processes. Writes for
each variant quality/V.json (distances, CLIP score and attributes of each image, their averages with 95 % intervals, the
distance between the two sets, the latents' signal-to-noise ratio after every step, the safety checker's decisions) and
appearance/V.json (damage that is seen without a reference, blank images, decisions that flip), and the images of every
two variants compared. What cannot be measured is given with its reason; where nothing was generated, `measured` is
false and `reason` says why.
"""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from stages.lib.formats.shared.availability import obstacle_left_in, passed_on
from stages.lib.generation.image_folder import not_generated
from stages.lib.generation.safety import NO_CHECKER
from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import Params, load_params
from stages.lib.project.variant import Variant
from stages.lib.quality.image_sets import ImageSets, joined


def main() -> None:
    """Compare, write the figures, print one line a variant."""
    arguments = command_line(
        __doc__,
        "images",
        base="the base model, which may bring a CLIP",
        quality="folder for a JSON file per variant",
        appearance="the same",
        pairs="JSON file for every two variants",
    )
    params = load_params()
    generated = []
    for variant in params.variants.values():
        folder = arguments.images / variant.name
        files = [kind / f"{variant.name}.json" for kind in (arguments.quality, arguments.appearance)]
        if passed_on("evaluate", variant, obstacle_left_in(folder), *files):
            continue
        if reason := not_generated(folder):
            missing = {**_names(variant, params), "measured": False, "reason": reason}
            for file, rows in zip(files, ({"per_image": []}, {}), strict=True):
                write_json(file, missing | rows)
            print(f"evaluate: {variant.label} is not compared ({reason})")
            continue
        generated.append(variant)
    if not generated:
        write_json(arguments.pairs, {"pairs": []})
        return
    names, sampled = [variant.name for variant in generated], params.quality.perceptual_prompts
    sets = ImageSets.read(arguments.images, names, params.baseline, sampled)
    reports, pairs = compare_all(sets, generated, params, arguments.images, arguments.base)
    for variant, quality, appearance in reports:
        write_json(arguments.quality / f"{variant.name}.json", quality)
        write_json(arguments.appearance / f"{variant.name}.json", appearance)
        print(f"evaluate: {variant.label}, {summary(quality, appearance)}")
    write_json(arguments.pairs, {"pairs": pairs})
    print(
        f"evaluate: {counted(len(sets.ids), 'image')} of {counted(len(generated), 'variant')}, "
        f"{counted(len(pairs), 'pair')} of variants, {arguments.took}"
    )


def compare_all(
    sets: ImageSets, variants: list[Variant], params: Params, images: Path, base: Path
) -> tuple[list[tuple[Variant, dict, dict]], list[dict]]:
    """What quality and appearance say of each of `variants`, and every two of the sets compared."""
    batches = sets.compare(base)  # other processes begin while this one imports and reads the prompts
    from stages.lib.quality.clip_features import find_clip
    from stages.lib.quality.figures import Words
    from stages.lib.quality.variant_reports import appearance_of, quality_of

    clip = find_clip(base)
    words = clip and Words.read([image.read for image in sets.images[params.baseline].values()], clip)
    prompts, features = joined(with_progress(batches, len(sets.ids)))
    reports = []
    for variant in variants:
        own = words and words.features(features[params.baseline], features[variant.name])
        quality = quality_of(sets, variant.name, prompts, own, images, params.quality)
        appearance = appearance_of(sets, variant.name, prompts, images)
        names = {**_names(variant, params), "measured": True}
        reports.append((variant, names | quality, names | appearance))
    return reports, sets.pair_rows(prompts)


def with_progress(batches: Iterator[tuple[list, dict]], prompts: int) -> Iterator[tuple[list, dict]]:
    """The same, with a bar over prompts."""
    with tqdm(total=prompts, desc="evaluate", unit="prompt", mininterval=1) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch[0]))


def _names(variant: Variant, params: Params) -> dict[str, str]:
    return {"variant": variant.name, "label": variant.label, "baseline": params.baseline}


def summary(quality: dict, appearance: dict) -> str:
    """One line about the images of a variant."""
    psnr = "no PSNR" if quality["psnr_db"] is None else f"PSNR {quality['psnr_db']:.1f} dB"
    damage = ", ".join(f"{key} {appearance['measures'][key]['grade']}" for key in appearance["seen"]) or "no damage"
    decisions = appearance["safety"]["per_image"]
    flips = f", {counted(sum(item['flipped'] for item in decisions), 'safety decision')} flipped"
    checked = any(item["margin_reason"] != NO_CHECKER for item in decisions)
    return (
        f"{psnr}, SSIM {quality['ssim']:.3f}, {quality['identical']} of {quality['images']} identical, {damage}, "
        f"{sum(appearance['blank'].values())} blank{flips if checked else ''}"
    )


if __name__ == "__main__":
    run_stage(main)
