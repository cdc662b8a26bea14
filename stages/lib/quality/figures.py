"""The figures of one set of images against another: distances, alignment, distributions, trajectories."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.generation.image_folder import StoredImage
from stages.lib.project.allocator import keep_freed_memory
from stages.lib.quality import alignment
from stages.lib.quality.comparison import Comparison, average, check_sizes
from stages.lib.quality.distributions import distances_of_sets
from stages.lib.quality.full_reference import Distances, Prepared, distances
from stages.lib.quality.statistics import intervals

if TYPE_CHECKING:
    from stages.lib.project.sections import Quality
    from stages.lib.quality.clip_features import Clip

BATCH_SIZE = 8  # pairs in memory at a time
AVERAGED = ("psnr_db", "ssim", "ms_ssim", "ciede2000", "ciede2000_p95", "gmsd")
OF_FEATURES = ("feature_cosine", "clip_score", "clip_score_change", "attributes_right", "attributes_right_change")
# Why something was not measured, as codes.
NO_CLIP, NO_LPIPS, TOO_SMALL = "no_clip", "no_lpips_weights", "small_images"


@dataclass(frozen=True)
class Pair:
    """An image against its reference."""

    reference: StoredImage
    image: StoredImage
    distances: Distances


@dataclass(frozen=True)
class Features:
    """L2-normalised CLIP features of n pairs: (n, d) each of references, images and prompts; and every check."""

    name: str
    reference: np.ndarray
    images: np.ndarray
    prompts: np.ndarray
    checks: list[list[alignment.Check]]
    reference_checks: list[list[alignment.Check]]


@dataclass(frozen=True)
class Words:
    """What a CLIP makes of n prompts, (n, d), and of the texts of the attributes that it can tell, (labels, d)."""

    clip: "Clip"
    texts: list[str]
    prompts: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(cls, texts: list[str], clip: "Clip") -> "Words":
        """Of these prompts."""
        labels = clip.text_features(alignment.class_texts(clip.attributes))
        return cls(clip, texts, clip.text_features(texts), labels)

    def features(self, reference: np.ndarray, images: np.ndarray) -> Features:
        """With the features (n, d) of the prompts' reference images and images."""
        attributes = self.clip.attributes
        checks = [alignment.check_attributes(self.texts, seen, self.labels, attributes) for seen in (images, reference)]
        return Features(self.clip.name, reference, images, self.prompts, *checks)


Rgb = np.ndarray  # uint8 (H, W, 3)


def compare_sets(
    pairs: Iterable[tuple[StoredImage, StoredImage, Rgb, Rgb]], clip: "Clip | None"
) -> tuple[list[Pair], Features | None]:
    """Every (reference, image, its pixels, its pixels) compared, in order; features only where there is a CLIP.

    `pairs` may read from disk as it goes: no more than BATCH_SIZE pairs are in memory.
    """
    keep_freed_memory()
    compared: list[Pair] = []
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        remaining = iter(pairs)
        while batch := tuple(islice(remaining, BATCH_SIZE)):
            compared += pool.map(_compare, batch)
            if clip is not None:
                seen.append(_image_features(batch, clip))
    if clip is None:
        return compared, None
    reference, images = (np.concatenate(part) for part in zip(*seen, strict=True))
    words = Words.read([pair.image.prompt for pair in compared], clip)
    return compared, words.features(reference, images)


def _compare(item: tuple[StoredImage, StoredImage, Rgb, Rgb]) -> Pair:
    reference, image, before, after = item
    check_sizes(reference, image, (before, after))
    return Pair(reference, image, distances(Prepared(before), Prepared(after)))


def _image_features(
    batch: tuple[tuple[StoredImage, StoredImage, Rgb, Rgb], ...], clip: "Clip"
) -> tuple[np.ndarray, ...]:
    """Features of references and images; equal pixels are looked at once, so that they have equal features."""
    reference = clip.image_features(np.stack([item[2] for item in batch]))
    images = reference.copy()
    changed = [number for number, item in enumerate(batch) if (item[2] != item[3]).any()]
    if changed:
        images[changed] = clip.image_features(np.stack([batch[number][3] for number in changed]))
    return reference, images


def paired_figures(pairs: list[Pair], features: Features | None, settings: "Quality") -> dict:
    """Averages with their intervals, what was not measured and why, attributes, and every image's figures."""
    rows = image_rows(pairs, features)
    samples = {key: [row[key] for row in rows if row[key] is not None] for key in (*AVERAGED, *OF_FEATURES)}
    reasons = {"lpips": NO_LPIPS}
    if not samples["ms_ssim"]:
        reasons["ms_ssim"] = TOO_SMALL
    if features is None:
        reasons |= dict.fromkeys((*OF_FEATURES, "attributes", "distribution"), NO_CLIP)
    comparisons = [Comparison(pair.image.id, pair.distances.psnr_db, pair.distances.ssim) for pair in pairs]
    return {
        **average(comparisons),
        "averages": intervals(samples, settings.resamples, settings.seed),
        "not_measured": reasons,
        "attributes": features and alignment.count_right(features.reference_checks, features.checks),
        "per_image": rows,
    }


def distribution(features: Features | None, settings: "Quality") -> dict | None:
    """Distances between the two sets of features; None without a CLIP."""
    if features is None:
        return None
    return {
        "features": features.name,
        **distances_of_sets(features.reference, features.images, settings.fid_images),
    }


def image_rows(pairs: list[Pair], features: Features | None) -> list[dict]:
    """The figures of each image; None for what was not measured."""
    rows = [
        {
            "id": pair.image.id,
            "kind": pair.image.kind,
            **asdict(pair.distances),
            "identical": pair.distances.psnr_db is None,
            **dict.fromkeys((*OF_FEATURES, "baseline_clip_score", "attributes")),
        }
        for pair in pairs
    ]
    if features is None:
        return rows
    cosines = alignment.feature_cosines(features.reference, features.images).tolist()
    scores = alignment.clip_scores(features.images, features.prompts).tolist()
    before = alignment.clip_scores(features.reference, features.prompts).tolist()
    checks = zip(features.checks, features.reference_checks, strict=True)
    for row, cosine, score, old, (new_checks, old_checks) in zip(rows, cosines, scores, before, checks, strict=True):
        row |= {
            "feature_cosine": cosine,
            "clip_score": score,
            "baseline_clip_score": old,
            "clip_score_change": score - old,
            **_share_right(new_checks, old_checks),
            "attributes": {
                check.attribute: {"asked": check.asked, "seen": check.seen, "baseline_seen": other.seen}
                for check, other in zip(new_checks, old_checks, strict=True)
            },
        }
    return rows


def _share_right(checks: list[alignment.Check], reference: list[alignment.Check]) -> dict[str, float | None]:
    """Percent of what the prompt names that the image shows, and the change; None where it names nothing."""
    if not checks:
        return {"attributes_right": None, "attributes_right_change": None}
    now, before = (100 * sum(check.right for check in side) / len(side) for side in (checks, reference))
    return {"attributes_right": now, "attributes_right_change": now - before}
