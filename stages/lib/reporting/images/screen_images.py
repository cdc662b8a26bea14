"""The images of the page for the screen: small copies that its figures and viewer share, and all the viewer knows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.generation.image_folder import StoredImage, read_images, read_rgb
from stages.lib.project.prompts import Prompt
from stages.lib.reporting.images.difference_planes import COLOUR_STEP, LUMA_STEP, WORST_ERROR, difference_planes
from stages.lib.reporting.images.previews import SAME_COPY_DB, Previews, near_baseline, previews, webp, worst_first
from stages.lib.results.records import Results, VariantResult

ScreenImages = Mapping[str, Mapping[str, np.ndarray]]
KEPT = 64  # images in memory


def screen_figures(
    results: Results, images: ScreenImages, prompts: Sequence[Prompt], illustrated: Sequence[Prompt]
) -> dict[str, Any]:
    """What templates show on the screen alone; `illustrated` are the prompts of the page's figures."""
    same = near_baseline(results)
    order = worst_first(results, [prompt.id for prompt in prompts], [prompt.id for prompt in illustrated])
    shown = previews(images, same, order)
    in_page = {(name, prompt.id) for name in images for prompt in illustrated}
    copies = {
        (name, id): shown.copies.get((name, id)) or webp(images[name][id], shown.side, shown.quality)
        for name, id in in_page
    }
    grids = {prompt.id: {name: _address(copies[(name, prompt.id)]) for name in images} for prompt in illustrated}
    return {
        "screen_images": grids,
        "viewer": viewer_data(results, images, prompts, shown, in_page) if results.others else None,
        "preview_side": shown.side,
        "preview_quality": shown.quality,
        "preview_limit": round(SAME_COPY_DB),
        "plane_error": WORST_ERROR,
    }


class _Folder(Mapping[str, np.ndarray]):
    """The images of one variant by prompt, each checked whenever it is read."""

    def __init__(self, folder: Path, read: Callable[[StoredImage], np.ndarray]) -> None:
        self._listed, self._read = read_images(folder), read

    def __getitem__(self, id: str) -> np.ndarray:
        return self._read(self._listed[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def images_of(images: Path, names: Sequence[str]) -> ScreenImages:
    """The images of the variants `names`: variant -> prompt -> (H, W, 3) uint8. Few are in memory at a time."""
    read = lru_cache(KEPT)(read_rgb)
    return {name: _Folder(images / name, read) for name in names}


def _address(copy: str) -> str:
    return "data:image/webp;base64," + copy


def viewer_data(
    results: Results,
    images: Mapping[str, Mapping[str, np.ndarray]],
    prompts: Sequence[Prompt],
    shown: Previews,
    in_page: set[tuple[str, str]],
) -> dict[str, Any]:
    """Everything that the script reads, as values of JSON. Variants and prompts are numbered in their own order.

    An image that stands in the page anyway (`in_page`) is not repeated: its place holds None.
    """
    kept = [prompt for prompt in prompts if prompt.id in set(shown.prompts)]
    ids = [prompt.id for prompt in kept]
    names = [result.name for result in results.variants]
    planes = difference_planes(images, results.baseline.name, ids)
    return {
        "variants": [result.label for result in results.variants],
        "baseline": names.index(results.baseline.name),
        "prompts": [{"text": prompt.prompt, "kind": prompt.kind, "id": prompt.id} for prompt in kept],
        "copies": [[_copy(shown, in_page, name, results.baseline.name, id) for id in ids] for name in names],
        "keys": names,
        "pairs": _pairs(results, names, ids),
        "figures": [_figures(result, ids) for result in results.variants],
        "planes": planes and {**asdict(planes), "lumaStep": LUMA_STEP, "colourStep": COLOUR_STEP},
    }


def _copy(shown: Previews, in_page: set[tuple[str, str]], name: str, baseline: str, id: str) -> str | int | None:
    """The image in base64; 0 if it is shown by the baseline's copy; None if it stands in the page."""
    if (name, id) in shown.same_as_baseline:
        return 0
    return None if (name, id) in in_page else shown.copies[(name, id)]


def _pairs(results: Results, names: list[str], ids: list[str]) -> dict[str, list[list[float | None]]]:
    """'0-3' -> for each prompt PSNR in dB (None: identical) and SSIM between variants 0 and 3, rounded as shown."""
    found = {}
    for pair in results.pairs:
        low, high = sorted((names.index(pair["reference"]), names.index(pair["variant"])))
        rows = {row["id"]: row for row in pair["per_image"]}
        marks = ((rows[id]["psnr_db"], rows[id]["ssim"]) for id in ids)
        found[f"{low}-{high}"] = [[psnr and round(psnr, 1), round(ssim, 3)] for psnr, ssim in marks]
    return found


def _figures(result: VariantResult, ids: list[str]) -> list[dict[str, Any]]:
    """For each prompt: how many attributes the image shows of those asked for, which are wrong, and the decision."""
    compared = {row["id"]: row for row in result.quality["per_image"]}
    generated = {row["id"]: row for row in result.generated["per_image"]}
    rows = []
    for id in ids:
        asked, decision = compared.get(id, {}).get("attributes") or {}, generated[id]
        wrong = [[key, item["asked"], item["seen"]] for key, item in asked.items() if item["asked"] != item["seen"]]
        flagged = {"flagged": decision["flagged"], "margin": decision.get("safety_margin")}
        rows.append({"asked": len(asked), "wrong": wrong, **flagged})
    return rows
