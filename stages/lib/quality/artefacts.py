"""What an image looks like, without a reference: figures that damage moves and another good image does not.

Every function takes one image and is pure. None compares pixels, so a format that generates a different but equally
good image is not called damaged; stages.lib.quality.appearance compares the figures of many pairs. A channel's step
from one 8-bit value to the next is a "grey level".
"""

from dataclasses import dataclass

import numpy as np

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
FLOOR = 0.05  # grey levels added to both sides of a ratio, so that a flat image has one
BLOCK = 8  # pixels: the blocks of JPEG, and what one latent of a factor-8 autoencoder stands for
LOUDEST_JUMP = 8.0  # grey levels: a larger jump is an edge of the scene
FLAT_SHARE = 0.3  # noise and mottling are measured where the image is smoothest
CALM_SIDE = 48  # pixels: how large an area must be calm to count as smooth for mottling
BLACK = 2.0  # grey levels: mean luma of a black image
FLAT = 2.0  # grey levels: standard deviation of luma of an image without structure


@dataclass(frozen=True)
class Figures:
    """Of one image; units and ranges are those of the functions of the same name."""

    blur: float
    detail_db: float
    blockiness: float
    posterization_bits: float
    noise: float
    mottling: float
    lightness: float
    green_red: float
    blue_yellow: float
    luma_mean: float
    luma_std: float


def figures_of(rgb: np.ndarray) -> Figures:
    """All figures of a uint8 RGB image (H, W, 3) of at least 11 x 11 pixels. ValueError if it is of another kind."""
    if rgb.dtype != "uint8" or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < BLOCK + 3:
        raise ValueError(f"expected uint8 (H, W, 3) of at least 11 x 11 pixels, got {rgb.dtype} {rgb.shape}")
    gray = luma(rgb)
    lightness, green_red, blue_yellow = mean_colour(rgb)
    return Figures(
        blur=blur(gray),
        detail_db=detail_db(gray),
        blockiness=blockiness(gray),
        posterization_bits=posterization_bits(rgb),
        noise=noise(gray),
        mottling=mottling(gray),
        lightness=lightness,
        green_red=green_red,
        blue_yellow=blue_yellow,
        luma_mean=float(gray.mean()),
        luma_std=float(gray.std()),
    )


def luma(rgb: np.ndarray) -> np.ndarray:
    """Luma of a uint8 image (H, W, 3): float32 (H, W), 0 to 255."""
    return rgb.astype(np.float32) @ np.array(LUMA, dtype=np.float32)


def blur(gray: np.ndarray) -> float:
    """How little blurring an image once more changes it: 0 (sharp) to 1; a flat image has 1.

    Crete, Dolmiere, Ladret and Nicolas, "The blur effect: perception and estimation with a new no-reference perceptual
    blur metric", SPIE 6492, 2007; scikit-image's blur_effect with a window of 5 pixels.
    """
    from skimage.measure import blur_effect

    return float(blur_effect(gray, h_size=5)) if gray.std() > FLOOR else 1.0


def detail_db(gray: np.ndarray) -> float:
    """Strength of detail finer than about 2 pixels against that of 2 to 6 pixels, in dB: lower where texture is lost.

    Standard deviations of two bands of a difference-of-Gaussians pyramid (Burt and Adelson, IEEE Trans. Comm. 31(4),
    1983). The ratio cancels how much there is to see in the scene.
    """
    from scipy.ndimage import gaussian_filter

    first, second = (gaussian_filter(gray, sigma, mode="nearest", truncate=3) for sigma in (0.7, 2.0))
    return float(20 * np.log10(((gray - first).std() + FLOOR) / ((first - second).std() + FLOOR)))


def blockiness(gray: np.ndarray) -> float:
    """How much more the luma jumps between blocks of 8 x 8 pixels than inside them, grey levels, about 0 if not at all.

    A jump is a step between neighbours minus the mean of the steps on either side of it (Wang, Sheikh and Bovik,
    "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002, compare the same places).
    """
    differences = []
    for image in (gray, gray.T):
        steps = np.abs(np.diff(image, axis=1))
        jumps = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
        column = np.clip(jumps, 0, LOUDEST_JUMP).mean(axis=0)
        place = (np.arange(column.size) + 2) % BLOCK
        means = [column[place == offset].mean() for offset in range(BLOCK)]
        differences.append(means[0] - np.median(means[1:]))
    return float(np.mean(differences))


def posterization_bits(rgb: np.ndarray) -> float:
    """How much poorer in tones the image is than its smoothed histogram, bits, mean of the channels: 0 is smooth.

    Entropy of the histogram after a Gaussian of 4 grey levels, minus its entropy. Posterizing to every k-th value adds
    about log2(k).
    """
    from scipy.ndimage import gaussian_filter1d

    counts = np.stack([np.bincount(rgb[..., channel].ravel(), minlength=256) for channel in range(3)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    smooth = gaussian_filter1d(shares, 4, axis=1, mode="constant")
    smooth /= smooth.sum(axis=1, keepdims=True)
    return float(np.mean(_entropy_bits(smooth) - _entropy_bits(shares)))


def _entropy_bits(shares: np.ndarray) -> np.ndarray:
    return -np.sum(shares * np.log2(shares, where=shares > 0, out=np.zeros_like(shares)), axis=1)


def noise(gray: np.ndarray) -> float:
    """Standard deviation of grain in the smoothest 30 % of the image, grey levels.

    Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), 1996.
    """
    from scipy.ndimage import gaussian_filter

    second = np.diff(np.diff(gray, 2, axis=0), 2, axis=1)
    smooth = gaussian_filter(gray, 2.0, mode="nearest", truncate=3)
    slope = np.hypot(*np.gradient(smooth))[1:-1, 1:-1]
    grain = np.abs(second)[slope <= np.quantile(slope, FLAT_SHARE)]
    return float(np.sqrt(np.pi / 2) * grain.mean() / 6)


def mottling(gray: np.ndarray) -> float:
    """Standard deviation of texture of about 4 to 16 pixels in the calmest 30 % of the image, grey levels.

    The band between Gaussians of 1.5 and 5 pixels, squared and averaged over squares of 48 pixels: patches that should
    be one colour and are many raise it, while objects are left out. Coarse grain and few tones raise it, too.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    fine, coarse = (gaussian_filter(gray, sigma, mode="nearest", truncate=3) for sigma in (1.5, 5.0))
    energy = uniform_filter((fine - coarse) ** 2, CALM_SIDE, mode="nearest")
    calm = energy[energy <= np.quantile(energy, FLAT_SHARE)].mean()
    return float(np.sqrt(max(calm, 0)))  # a running mean of nothing can be a rounding error below 0


def mean_colour(rgb: np.ndarray) -> tuple[float, float, float]:
    """Mean CIELAB colour (D65) of every fourth pixel: L* (0 to 100), a* (green to red), b* (blue to yellow)."""
    from skimage.color import rgb2lab

    lightness, green_red, blue_yellow = rgb2lab(rgb[::2, ::2]).mean(axis=(0, 1)).tolist()
    return lightness, green_red, blue_yellow
