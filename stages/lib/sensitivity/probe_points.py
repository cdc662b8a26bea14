"""Where damage is looked for along the generation of an image, and how it is expressed at each place.

    text encoder -> embeddings -> U-Net -> latents -> VAE -> image -> safety checker -> margin

Each measure is 0 where nothing differs and is (or grows with) a mean square, so that independent errors add up.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn


def cosine(reference: "torch.Tensor", other: "torch.Tensor") -> float:
    """The cosine, -1 to 1, between two tensors of one shape, flattened; in FP64, because it is close to 1."""
    first, second = reference.double().flatten(), other.double().flatten()
    if first.equal(second):
        return 1.0
    return float(first @ second / (first.norm() * second.norm()))


def noise_to_signal(reference: "torch.Tensor", other: "torch.Tensor") -> float:
    """|other - reference|^2 / |reference|^2 of two tensors of one shape; 0 if they are equal."""
    first, second = reference.double(), other.double()
    return float((second - first).square().sum() / first.square().sum())


def snr_db(noise_to_signal: float) -> float | None:
    """The signal-to-noise ratio in dB of a noise-to-signal ratio; None (without bound) if there is no noise."""
    return -10 * math.log10(noise_to_signal) if noise_to_signal > 0 else None


def mean_square_error(reference: "np.ndarray", image: "np.ndarray") -> float:
    """Mean squared difference, in levels of 255 squared, of two uint8 images (H, W, 3)."""
    difference = image.astype("float64") - reference
    return float((difference**2).mean())


def safety_margin(checker: "nn.Module", pixels: "torch.Tensor") -> float:
    """How far an image is beyond the checker's nearest threshold, as a difference of cosines.

    Positive: the image is flagged (diffusers rounds to three decimals first); negative: it passes with that much to
    spare. `pixels` (1, 3, h, w) as the feature extractor gives them.
    """
    from stages.lib.generation.safety import judged

    return judged(checker, pixels).margin


def is_beyond(margin: float) -> bool:
    """Whether diffusers flags an image of this `margin`."""
    return round(margin, 3) > 0
