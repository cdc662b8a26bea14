"""What every image differs by from the baseline's, small enough for a page that subtracts any two formats itself.

From the images' own pixels, never from lossy copies: the differences are averaged over blocks, in luma and two
colour differences (JFIF's YCbCr, the colour in blocks twice as wide), and rounded to whole steps. The difference of two
formats is the difference of their differences, so one plane per format does for every pair.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np

LUMA_STEP, COLOUR_STEP = 4, 4  # grey levels
LEVEL = 6  # of deflate: 9 saves three bytes in a hundred and takes several times as long
THREADS = 2  # images are decoded outside the interpreter's lock
BLOCKS = 64  # luma blocks along the longer side; half as many of colour
# JFIF: rows are Y, Cb, Cr of red, green, blue.
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
# How far off rounding can put a colour of a format against the baseline, in grey levels: blue is Y + 1.772 Cb.
WORST_ERROR = LUMA_STEP / 2 + 1.772 * COLOUR_STEP / 2


@dataclass(frozen=True)
class DifferencePlanes:
    """`data`: for every variant but the baseline, for every prompt: luma, Cb, Cr, row by row; a byte is 128 + steps.

    Within each plane a byte is stored as what it adds to the one before (modulo 256), deflated, in base64. `width` and
    `height` count the blocks of luma, `block` their pixels.
    """

    data: str
    width: int
    height: int
    block: int


def difference_planes(
    images: Mapping[str, Mapping[str, np.ndarray]], baseline: str, prompts: Sequence[str]
) -> DifferencePlanes | None:
    """The planes of all variants but `baseline` in the order of `images`; None where images have several shapes."""
    height, width, _channels = shape = images[baseline][prompts[0]].shape
    block = -(-max(width, height) // BLOCKS)

    def means(key: tuple[str, str]) -> np.ndarray | None:
        image = images[key[0]][key[1]]
        return _block_means(image, block) if image.shape == shape else None

    keys = list(product(images, prompts))
    with ThreadPoolExecutor(THREADS) as pool:
        mean_of = dict(zip(keys, pool.map(means, keys), strict=True))
    if any(mean is None for mean in mean_of.values()):
        return None
    found = [_planes(mean_of[key] - mean_of[baseline, key[1]]) for key in keys if key[0] != baseline]
    packed = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    content = packed.compress(b"".join(found)) + packed.flush()
    columns, rows = -(-width // (2 * block)) * 2, -(-height // (2 * block)) * 2
    return DifferencePlanes(base64.b64encode(content).decode("ascii"), columns, rows, block)


def _planes(blocks: np.ndarray) -> bytes:
    """The rounded planes of one difference: `blocks` are its means, (rows, columns, 3)."""
    blocks = blocks @ YCBCR.T
    rows, columns, _channels = blocks.shape
    colour = blocks[..., 1:].reshape(rows // 2, 2, columns // 2, 2, 2).mean(axis=(1, 3))
    planes = (blocks[..., 0] / LUMA_STEP, colour[..., 0] / COLOUR_STEP, colour[..., 1] / COLOUR_STEP)
    steps = [np.clip(np.rint(plane), -128, 127).astype(np.int16) + 128 for plane in planes]
    return b"".join(np.diff(plane.ravel(), prepend=0).astype(np.uint8).tobytes() for plane in steps)


def _block_means(image: np.ndarray, block: int) -> np.ndarray:
    """Means over squares of `block` pixels; edges are repeated so that squares are whole and even in number."""
    height, width, _channels = image.shape
    even = ((0, -height % (2 * block)), (0, -width % (2 * block)), (0, 0))
    padded = np.pad(image, even, mode="edge") if even[0][1] or even[1][1] else image
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    lines = padded.reshape(rows, block, columns * block * 3).sum(axis=1, dtype=np.uint32)
    return lines.reshape(rows, columns, block, 3).sum(axis=2) / block**2
