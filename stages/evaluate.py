"""How far are a variant's pictures from the baseline's?

Reads data/images/V and data/images/BASELINE, writes reports/quality/V.json: PSNR, SSIM and the study's rating of each
picture, their means over pictures (identical ones have no PSNR and are counted), and the safety checker's decisions.
Where nothing was drawn, `measured` is false and `reason` says why.
"""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from stages.lib.availability import obstacle_left_in, passed_on
from stages.lib.errors import run_stage
from stages.lib.files import write_json
from stages.lib.metrics import rate_psnr
from stages.lib.params import load_params
from stages.lib.picture_folder import (
    Comparison,
    Picture,
    average,
    check_same_prompts,
    compare,
    not_drawn,
    read_pictures,
    read_rgb,
)


def compare_folders(reference: Path, folder: Path) -> list[tuple[Picture, Picture, Comparison]]:
    """Each picture of `reference` with its counterpart in `folder`, in order. One pair is in memory at a time."""
    references, pictures = read_pictures(reference), read_pictures(folder)
    check_same_prompts((reference, folder), (references, pictures))
    compared = []
    for id in tqdm(references, desc="evaluate", unit="picture", mininterval=1):
        pair = references[id], pictures[id]
        compared.append((*pair, compare(*pair, (read_rgb(pair[0]), read_rgb(pair[1])))))
    return compared


def quality_of(compared: list[tuple[Picture, Picture, Comparison]]) -> dict:
    """The figures of reports/quality, without the names of the variants."""
    comparisons = [comparison for _, _, comparison in compared]
    return {
        **average(comparisons),
        "ssim_minimum": min(comparison.ssim for comparison in comparisons),
        "flagged": sum(picture.flagged for _, picture, _ in compared),
        "baseline_flagged": sum(reference.flagged for reference, _, _ in compared),
        "pictures": [
            {
                "id": picture.id,
                "kind": picture.kind,
                "psnr_db": comparison.psnr_db,
                "identical": comparison.identical,
                "ssim": comparison.ssim,
                "rating": rate_psnr(comparison.psnr_db),
                "flagged": picture.flagged,
            }
            for _, picture, comparison in compared
        ],
    }


def main() -> None:
    """Compare, write the figures, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder with one folder of pictures per variant")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    variant = params.variant(arguments.variant)
    if passed_on("evaluate", variant, obstacle_left_in(arguments.images / variant.name), arguments.output):
        return
    names = {"variant": variant.name, "label": variant.label, "baseline": params.baseline}
    reason = not_drawn(arguments.images / variant.name)
    if reason:
        write_json(arguments.output, {**names, "measured": False, "reason": reason, "pictures": []})
        print(f"evaluate: {variant.label} is not compared ({reason})")
        return
    quality = quality_of(compare_folders(arguments.images / params.baseline, arguments.images / variant.name))
    write_json(arguments.output, {**names, "measured": True, **quality})
    psnr = "no PSNR" if quality["psnr_db"] is None else f"PSNR {quality['psnr_db']:.1f} dB"
    print(
        f"evaluate: {variant.label} against {params.baseline}, {psnr}, SSIM {quality['ssim']:.3f}, "
        f"{quality['identical']} of {quality['images']} pictures identical, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)
