"""What the page's viewer of images knows: which formats and prompts there are, and the figures of every image."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stages.lib.project.prompts import Prompt
from stages.lib.reporting.images.difference_planes import COLOUR_STEP, LUMA_STEP, difference_planes
from stages.lib.reporting.images.previews import Previews
from stages.lib.results.records import Results, VariantResult


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
    """'0-3' -> for each prompt PSNR in dB (None: identical) and SSIM between variants 0 and 3."""
    found = {}
    for pair in results.pairs:
        low, high = sorted((names.index(pair["reference"]), names.index(pair["variant"])))
        rows = {row["id"]: row for row in pair["per_image"]}
        found[f"{low}-{high}"] = [[rows[id]["psnr_db"], rows[id]["ssim"]] for id in ids]
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
