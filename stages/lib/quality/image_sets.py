"""All variants' images against the baseline's and against each other, prompt by prompt; each file is read once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.generation.image_folder import StoredImage, check_same_prompts, read_images, read_rgb
from stages.lib.project.memory import PROCESS_BYTES
from stages.lib.project.prompts import sample_of
from stages.lib.project.worker_pool import map_in_pool, pool_for, threads_here
from stages.lib.quality.artefacts import Figures, figures_of
from stages.lib.quality.comparison import Comparison, average, check_sizes, compare
from stages.lib.quality.figures import BATCH_SIZE
from stages.lib.quality.full_reference import Distances, Prepared, distances, keep_freed_memory
from stages.lib.quality.perceptual import SMALLEST_SIDE, Perceived, perceive

if TYPE_CHECKING:
    from stages.lib.quality.clip_features import Clip
    from stages.lib.quality.st_lpips import StLpips

PREPARED_BYTES = 100  # of a pixel, while it is compared with others


@dataclass(frozen=True)
class Seen:
    """One prompt: each variant's image by itself, its distances from the baseline's, and every two compared.

    `perceived` is empty where the prompt is not one of the sample.
    """

    figures: dict[str, Figures]
    distances: dict[str, Distances]
    perceived: dict[str, Perceived]
    pairs: list[Comparison]


@dataclass(frozen=True)
class ImageSets:
    """The images of each variant by id, all of the same prompts; `baseline` is one of the variants.

    `sample` are the ids whose images are compared as people see them, which takes longer than all else.
    """

    images: Mapping[str, dict[str, StoredImage]]
    baseline: str
    sample: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path, variants: Sequence[str], baseline: str, sampled: int) -> "ImageSets":
        """Those of the folders of that name in `folder`. What belongs to other prompts or seeds is a UserError."""
        images = {name: read_images(folder / name) for name in variants}
        check_same_prompts([folder / name for name in variants], list(images.values()))
        return cls(images, baseline, frozenset(sample_of(list(images[baseline]), sampled)))

    @property
    def ids(self) -> list[str]:
        """The ids of the images, in the order of the baseline's."""
        return list(self.images[self.baseline])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two variants, the earlier one first."""
        return list(combinations(self.images, 2))

    def compare(self, base: Path) -> Iterator[tuple[list[Seen], dict[str, np.ndarray]]]:
        """Batches of prompts, in order: what is seen, and the CLIP features (2, n, d) of each variant's images.

        Without a CLIP in the pipeline folder `base` there are no features. Each process holds one batch.
        """
        import psutil

        batches = [self.ids[start : start + BATCH_SIZE] for start in range(0, len(self.ids), BATCH_SIZE)]
        height, width, _ = read_rgb(next(iter(self.images[self.baseline].values()))).shape
        each_bytes = 2 * PROCESS_BYTES + len(self.images) * height * width * (PREPARED_BYTES + 3 * BATCH_SIZE)
        available = psutil.virtual_memory().available
        pool = pool_for(len(batches), threads_here(), each_bytes, available, items_per_process=1)
        return map_in_pool(partial(_open, base, bool(self.sample)), self.compare_batch, batches, pool)

    def compare_batch(self, eyes: "Eyes", ids: Sequence[str]) -> tuple[list[Seen], dict[str, np.ndarray]]:
        """One batch of `compare`."""
        rgb = {name: [read_rgb(images[id]) for id in ids] for name, images in self.images.items()}
        for number, id in enumerate(ids):
            reference = self.images[self.baseline][id]
            for name, images in self.images.items():
                check_sizes(reference, images[id], (rgb[self.baseline][number], rgb[name][number]))
        features = {} if eyes.clip is None else eyes.clip.features_of(rgb, self.baseline)
        seen = [self._see(id, [item[number] for item in rgb.values()], eyes) for number, id in enumerate(ids)]
        return seen, features

    def _see(self, id: str, rgb: list[np.ndarray], eyes: "Eyes") -> Seen:
        """One prompt: `rgb` are the images of the variants."""
        prepared = {name: Prepared(item) for name, item in zip(self.images, rgb, strict=True)}
        apart = {name: distances(prepared[self.baseline], item) for name, item in prepared.items()}
        pairs = []
        for reference, name in self.pairs:
            if self.baseline in (reference, name):  # PSNR and SSIM are the same both ways
                known = apart[name if reference == self.baseline else reference]
                pairs.append(Comparison(id, known.psnr_db, known.ssim))
            else:
                images = self.images[reference][id], self.images[name][id]
                pairs.append(compare(*images, (prepared[reference], prepared[name])))
        perceived = {}
        if id in self.sample and min(rgb[0].shape[:2]) >= SMALLEST_SIDE:
            perceived = perceive(prepared[self.baseline].rgb, dict(zip(self.images, rgb, strict=True)), eyes.network)
        return Seen({name: figures_of(item.rgb) for name, item in prepared.items()}, apart, perceived, pairs)

    def pair_rows(self, seen: Sequence[Seen]) -> list[dict]:
        """Every two variants: averages over images, and each image."""
        return [
            {"reference": reference, "variant": variant, **_pair([item.pairs[number] for item in seen])}
            for number, (reference, variant) in enumerate(self.pairs)
        ]


@dataclass(frozen=True)
class Eyes:
    """The networks that look at images: the model's own CLIP, if it brings one, and ST-LPIPS, if it is asked."""

    clip: "Clip | None"
    network: "StLpips | None"


def _open(base: Path, perceptual: bool) -> Eyes:
    from stages.lib.quality.clip_features import find_clip
    from stages.lib.quality.st_lpips import StLpips

    keep_freed_memory()
    return Eyes(find_clip(base), StLpips() if perceptual else None)


def _pair(comparisons: list[Comparison]) -> dict:
    rows = [
        {"id": item.id, "psnr_db": item.psnr_db, "identical": item.identical, "ssim": item.ssim} for item in comparisons
    ]
    return {**average(comparisons), "per_image": rows}


def joined(batches: Iterable[tuple[list[Seen], dict[str, np.ndarray]]]) -> tuple[list[Seen], dict[str, np.ndarray]]:
    """All batches as one."""
    seen, features = [], []
    for items, own in batches:
        seen += items
        features.append(own)
    return seen, {name: np.concatenate([own[name] for own in features], axis=1) for name in features[0]}
