"""The images of the page for the screen: small copies, which its figures and its viewer share, and what it says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.generation.image_folder import StoredImage, read_images, read_rgb
from stages.lib.project.prompts import Prompt
from stages.lib.reporting.images.difference_planes import WORST_ERROR
from stages.lib.reporting.images.previews import SAME_COPY_DB, near_baseline, previews, webp
from stages.lib.reporting.images.viewer import viewer_data
from stages.lib.results.records import Results

ScreenImages = Mapping[str, Mapping[str, np.ndarray]]
KEPT = 64  # images in memory


def screen_figures(
    results: Results, images: ScreenImages, prompts: Sequence[Prompt], illustrated: Sequence[Prompt]
) -> dict[str, Any]:
    """What templates show on the screen alone; `illustrated` are the prompts of the page's figures."""
    same = near_baseline(results)
    shown = previews(images, same, [prompt.id for prompt in prompts])
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
