"""Where would an observer who flips between two images see a difference, and how much? FLIP, 0 (none) to 1.

Andersson et al., "FLIP: a difference evaluator for alternating images", Proc. ACM Comput. Graph. Interact. Tech. 3(2),
2020, by the authors' package `flip-evaluator`: LDR, seen from where 67 pixels fill a degree, its default (0.7 m from a
screen of 3840 pixels on 0.7 m).
"""

import numpy as np


def flip_map(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """FLIP at each pixel, float32 (H, W), of two uint8 images (H, W, 3); its mean is the distance of the images."""
    from flip_evaluator import evaluate

    sides = (np.ascontiguousarray(rgb, np.float32) / np.float32(255) for rgb in (reference, image))
    return evaluate(*sides, "LDR", applyMagma=False, computeMeanError=False)[0][..., 0]
