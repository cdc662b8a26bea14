"""Known damage, done to an image on purpose: what an instrument that looks for damage must see.

Every function takes and gives a uint8 RGB image (H, W, 3) and depends on nothing but its arguments.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def blur(rgb: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels: fine detail goes first."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return _to_bytes(blurred)


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG (quality 1 to 95, 4:2:0) and back: blocks of 8 x 8 pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


def posterize(rgb: np.ndarray, levels: int) -> np.ndarray:
    """Each channel rounded to `levels` evenly spaced values."""
    step = 255 / (levels - 1)
    return _to_bytes(np.round(rgb / step) * step)


def tint(rgb: np.ndarray, strength: float) -> np.ndarray:
    """Red raised and blue lowered by the share `strength`: a warm cast."""
    return _to_bytes(rgb * np.array([1 + strength, 1, 1 - strength]))


def noise(rgb: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Gaussian noise of standard deviation `sigma` (of 255), the same in all channels, from `seed`."""
    grain = np.random.default_rng(seed).normal(0, sigma, rgb.shape[:2])
    return _to_bytes(rgb + grain[..., None])


def mottle(rgb: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    """Blotches of about 4 to 16 pixels with a standard deviation of `strength` (of 255), from `seed`."""
    from scipy.ndimage import gaussian_filter

    grain = np.random.default_rng(seed).normal(size=rgb.shape[:2])
    blotches = gaussian_filter(grain, 1.5, mode="nearest") - gaussian_filter(grain, 5, mode="nearest")
    return _to_bytes(rgb + strength / blotches.std() * blotches[..., None])


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Damage:
    """One kind: how it is done, strengths from weak to strong, and the measures of which it must raise one."""

    do: Callable[..., np.ndarray]
    ladder: tuple[float, ...]
    measures: tuple[str, ...]


DAMAGES = {
    "blur": Damage(blur, (0.3, 0.5, 0.7, 1.0, 2.0), ("blur", "detail_db")),
    "jpeg": Damage(jpeg, (90, 70, 50, 30, 10), ("blockiness",)),
    "posterize": Damage(posterize, (128, 64, 32, 16, 8), ("posterization_bits",)),
    "tint": Damage(tint, (0.01, 0.02, 0.05, 0.1, 0.2), ("blue_yellow",)),
    "noise": Damage(noise, (0.5, 1.0, 2.0, 4.0, 8.0), ("noise",)),
    "mottle": Damage(mottle, (1.0, 2.0, 4.0, 8.0, 16.0), ("mottling",)),
}
