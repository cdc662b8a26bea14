"""Images as they stand in the report: small copies, enlarged details, maps of the difference. All as data URIs."""

import base64
import io

import numpy as np
from PIL import Image

TEXT_WIDTH_IN = 6.69  # of the PDF's pages
PAPER_DPI, PAPER_QUALITY = 150, 70  # of images at the size at which they are printed
MAP_DPI, MAP_QUALITY = 110, 60
SCREEN_DETAIL_QUALITY, SCREEN_MAP_QUALITY, SCREEN_MAP_SIDE = 90, 60, 128  # WebP
SATURATED_SHARE = 0.01  # at most this share of a map's pixels may be cut off at full darkness


def photograph(image: np.ndarray, columns: int) -> str:
    """The image as a JPEG with the pixels of one of `columns` columns of a printed page, if it has more."""
    image = Image.fromarray(image)
    image.thumbnail(_printed(columns, PAPER_DPI), Image.Resampling.LANCZOS)
    return _data_uri(image, "jpeg", quality=PAPER_QUALITY, subsampling=0, optimize=True)


def _printed(columns: int, dpi: int) -> tuple[int, int]:
    side = round(TEXT_WIDTH_IN / columns * dpi)
    return side, side


def detail(image: np.ndarray, window: tuple[int, int, int]) -> str:
    """The pixels of `window` (top, left, side) as a JPEG."""
    return _data_uri(_cut(image, window), "jpeg", quality=PAPER_QUALITY, subsampling=0, optimize=True)


def screen_detail(image: np.ndarray, window: tuple[int, int, int]) -> str:
    """The pixels of `window` (top, left, side) as WebP of quality 90: a fifth of the lossless bytes."""
    return _data_uri(_cut(image, window), "webp", quality=SCREEN_DETAIL_QUALITY)


def _cut(image: np.ndarray, window: tuple[int, int, int]) -> Image.Image:
    top, left, side = window
    return Image.fromarray(image[top : top + side, left : left + side])


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


def difference_map(difference: np.ndarray, factor: int, columns: int) -> str:
    """White where nothing differs, black where the difference times `factor` reaches 255; as `photograph` is."""
    return _data_uri(_map(difference, factor, _printed(columns, MAP_DPI)), "jpeg", quality=MAP_QUALITY, optimize=True)


def screen_map(difference: np.ndarray, factor: int) -> str:
    """The same, at most 128 pixels wide or high, as WebP."""
    return _data_uri(_map(difference, factor, (SCREEN_MAP_SIDE, SCREEN_MAP_SIDE)), "webp", quality=SCREEN_MAP_QUALITY)


def _map(difference: np.ndarray, factor: int, size: tuple[int, int]) -> Image.Image:
    grey = 255 - np.clip(difference * factor, 0, 255)
    image = Image.fromarray(grey.astype(np.uint8))
    image.thumbnail(size, Image.Resampling.LANCZOS)
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
