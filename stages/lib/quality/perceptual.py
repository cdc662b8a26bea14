"""How different do two images look to people? A learned distance, and a map of where an observer would see something.

FLIP is Andersson et al., "FLIP: a difference evaluator for alternating images", Proc. ACM Comput. Graph. Interact.
Tech. 3(2), 2020, by the authors' package `flip-evaluator`: LDR, seen from where 67 pixels fill a degree, its default
(0.7 m from a screen of 3840 pixels on 0.7 m). The learned distance is stages.lib.quality.st_lpips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stages.lib.quality.st_lpips import StLpips

SMALLEST_SIDE = 21  # pixels: of fewer the last reduction of ST-LPIPS has nothing left to reflect


@dataclass(frozen=True)
class Perceived:
    """An image against its reference: ST-LPIPS, 0 and up, and the mean of FLIP, 0 to 1."""

    st_lpips: float
    flip: float


def perceive(reference: np.ndarray, images: Mapping[str, np.ndarray], network: "StLpips") -> dict[str, Perceived]:
    """Each of `images` against the reference, all uint8 (H, W, 3) of one size; what is equal is 0 apart."""
    changed = {name: rgb for name, rgb in images.items() if (rgb != reference).any()}
    learned = dict(zip(changed, network.distances(reference, list(changed.values())), strict=True))
    return {
        name: Perceived(learned[name], float(flip_map(reference, rgb).mean())) if name in changed else Perceived(0, 0)
        for name, rgb in images.items()
    }


def flip_map(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """FLIP at each pixel, float32 (H, W), 0 (no difference is seen) to 1, of two uint8 images (H, W, 3)."""
    from flip_evaluator import evaluate

    sides = (np.ascontiguousarray(rgb, np.float32) / np.float32(255) for rgb in (reference, image))
    return evaluate(*sides, "LDR", applyMagma=False, computeMeanError=False)[0][..., 0]
