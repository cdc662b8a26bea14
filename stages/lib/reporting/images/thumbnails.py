"""Images as they stand in the report: small copies, enlarged details, maps of the difference. All as data URIs."""

import base64
import io

import numpy as np
from PIL import Image

SIDE = 256  # pixels of an image in the report; larger ones are reduced
JPEG_QUALITY = 90
DETAIL_QUALITY, MAP_QUALITY, MAP_SIDE = 90, 60, 128  # of the same as WebP, for the screen
SATURATED_SHARE = 0.01  # at most this share of a map's pixels may be cut off at full darkness


def photograph(image: np.ndarray) -> str:
    """The image as a JPEG of quality 90 without colour subsampling, at most 256 pixels wide or high."""
    image = Image.fromarray(image)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return _data_uri(image, "jpeg", quality=JPEG_QUALITY, subsampling=0)


def detail(image: np.ndarray, window: tuple[int, int, int]) -> str:
    """The pixels of `window` (top, left, side), lossless."""
    top, left, side = window
    return _data_uri(Image.fromarray(image[top : top + side, left : left + side]), "png", compress_level=6)


def screen_detail(image: np.ndarray, window: tuple[int, int, int]) -> str:
    """The pixels of `window` (top, left, side) as WebP of quality 90: a fifth of the lossless bytes."""
    top, left, side = window
    return _data_uri(Image.fromarray(image[top : top + side, left : left + side]), "webp", quality=DETAIL_QUALITY)


def differences(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Largest absolute difference of the three channels at each pixel: (H, W), 0 to 255."""
    return np.abs(reference.astype(np.int16) - image.astype(np.int16)).max(axis=2)


def amplification(maps: list[np.ndarray]) -> int:
    """The largest power of two, 1 to 64, that cuts off at most one pixel in a hundred of all maps together."""
    values = np.concatenate([item.ravel() for item in maps]) if maps else np.zeros(1)
    for factor in (64, 32, 16, 8, 4, 2):
        if (values * factor > 255).mean() <= SATURATED_SHARE:
            return factor
    return 1


def difference_map(difference: np.ndarray, factor: int) -> str:
    """White where nothing differs, black where the difference times `factor` reaches 255."""
    return _data_uri(_map(difference, factor, SIDE), "jpeg", quality=JPEG_QUALITY)


def screen_map(difference: np.ndarray, factor: int) -> str:
    """The same, at most 128 pixels wide or high, as WebP."""
    return _data_uri(_map(difference, factor, MAP_SIDE), "webp", quality=MAP_QUALITY)


def _map(difference: np.ndarray, factor: int, side: int) -> Image.Image:
    grey = 255 - np.clip(difference * factor, 0, 255)
    image = Image.fromarray(grey.astype(np.uint8))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def window_of_largest_difference(maps: list[np.ndarray], side: int) -> tuple[int, int, int]:
    """The square (top, left, side), on a grid of a quarter of its side, where the maps together differ most."""
    total = sum(maps)
    height, width = total.shape
    side = min(side, height, width)
    step = max(1, side // 4)
    corners = [(top, left) for top in range(0, height - side + 1, step) for left in range(0, width - side + 1, step)]
    top, left = max(corners, key=lambda corner: total[corner[0] : corner[0] + side, corner[1] : corner[1] + side].sum())
    return top, left, side


def _data_uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
