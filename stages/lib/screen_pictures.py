"""The pictures of the page for the screen: small copies, which its figures and its viewer share, and what it says."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.difference_planes import WORST_ERROR
from stages.lib.picture_folder import read_pictures, read_rgb
from stages.lib.previews import SAME_COPY_DB, THREADS, near_baseline, previews, webp
from stages.lib.prompts import Prompt
from stages.lib.results import Results
from stages.lib.viewer import viewer_data

Pictures = Mapping[str, Mapping[str, np.ndarray]]


def screen_figures(
    results: Results, pictures: Pictures, prompts: Sequence[Prompt], pictured: Sequence[Prompt]
) -> dict[str, Any]:
    """What templates show on the screen alone; `pictured` are the prompts of the page's figures."""
    same = near_baseline(results)
    shown = previews(pictures, same, [prompt.id for prompt in prompts])
    in_page = {(name, prompt.id) for name in pictures for prompt in pictured}
    copies = {
        (name, id): shown.copies.get((name, id)) or webp(pictures[name][id], shown.side, shown.quality)
        for name, id in in_page
    }
    grids = {prompt.id: {name: _address(copies[(name, prompt.id)]) for name in pictures} for prompt in pictured}
    return {
        "screen_pictures": grids,
        "viewer": viewer_data(results, pictures, prompts, shown, in_page) if results.others else None,
        "preview_side": shown.side,
        "preview_quality": shown.quality,
        "preview_limit": round(SAME_COPY_DB),
        "plane_error": WORST_ERROR,
    }


def read_all(images: Path, names: Sequence[str]) -> Pictures:
    """Every picture of the variants `names`, checked: variant -> prompt -> (H, W, 3) uint8."""
    listed = [(name, id, picture) for name in names for id, picture in read_pictures(images / name).items()]
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    with ThreadPoolExecutor(THREADS) as pool:
        for (name, id, _picture), pixels in zip(listed, pool.map(lambda row: read_rgb(row[2]), listed), strict=True):
            found[name][id] = pixels
    return found


def _address(copy: str) -> str:
    return "data:image/webp;base64," + copy
