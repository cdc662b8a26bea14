"""Every image once as a small lossy copy, for the screen: as fine as its share of the page's bytes allows."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from PIL import Image

from stages.lib.results.records import Results

BUDGET_BYTES = 1_250_000  # of all copies together in base64; report.html may have 4 MB in all
# Longest side in pixels and WebP quality, from the finest on; coarser ones would hide what formats do.
LADDER = ((256, 75), (256, 60), (192, 60))
# Copies of the embedded model's images differ from them by 33 to 41 dB: nearer ones than this share a copy.
SAME_COPY_DB = 50.0
METHOD = 2  # of 0 to 6, WebP's effort: 4 saves one byte in fifteen and takes twice as long
SAMPLED = 24  # images that the finest affordable step is chosen by
THREADS = 2  # WebP encodes outside the interpreter's lock


@dataclass(frozen=True)
class Previews:
    """`copies` by (variant, prompt) in base64; `same_as_baseline` has the pairs that are shown by the baseline's copy.

    `side` and `quality` are the step of LADDER; `prompts` are the prompts that the budget has room for.
    """

    copies: Mapping[tuple[str, str], str]
    same_as_baseline: frozenset[tuple[str, str]]
    side: int
    quality: int
    prompts: tuple[str, ...]


def previews(
    images: Mapping[str, Mapping[str, np.ndarray]],
    same: frozenset[tuple[str, str]],
    prompts: Sequence[str],
    budget: int = BUDGET_BYTES,
) -> Previews:
    """Copies of `images` (variant -> prompt -> (H, W, 3) uint8) of as many first `prompts` as `budget` has room for.

    Those in `same` need none: they are near enough to the baseline's (`near_baseline`).
    """
    wanted = [(name, prompt) for prompt in prompts for name in images if (name, prompt) not in same]
    sample = [images[name][prompt] for name, prompt in wanted[:: -(-len(wanted) // SAMPLED)]]
    for side, quality in LADDER:
        each = sum(len(webp(image, side, quality)) for image in sample) / len(sample)
        if each * len(wanted) <= budget:
            break
    room = min(1, budget / (each * len(wanted))) * len(prompts)
    shown = tuple(prompts[: max(1, int(room))])
    kept = [key for key in wanted if key[1] in set(shown)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda key: webp(images[key[0]][key[1]], side, quality), kept))
    return Previews(dict(zip(kept, found, strict=True)), same, side, quality, shown)


def worst_first(results: Results, prompts: Sequence[str], first: Collection[str]) -> list[str]:
    """Of `prompts` those in `first`, then the others by the mean SSIM of all formats."""
    found: dict[str, list[float]] = {id: [] for id in prompts}
    for result in results.others:
        for row in result.quality["per_image"]:
            found[row["id"]].append(row["ssim"])
    return sorted(prompts, key=lambda id: (id not in first, fmean(found[id] or [1.0])))


def near_baseline(results: Results) -> frozenset[tuple[str, str]]:
    """The (variant, prompt) that are shown by the baseline's copy, since a lossy copy cannot tell them apart."""
    return frozenset(
        (result.name, row["id"])
        for result in results.others
        for row in result.quality["per_image"]
        if row["identical"] or row["psnr_db"] >= SAME_COPY_DB
    )


def webp(image: np.ndarray, side: int, quality: int) -> str:
    """The image, at most `side` pixels wide and high, as WebP in base64."""
    image = Image.fromarray(image)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="webp", quality=quality, method=METHOD)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
