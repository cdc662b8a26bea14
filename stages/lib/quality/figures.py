"""The figures of one set of images against another: distances, alignment, distributions, trajectories."""

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.generation.image_folder import StoredImage
from stages.lib.project.sections import Quality
from stages.lib.quality import alignment
from stages.lib.quality.comparison import Comparison, average, check_sizes
from stages.lib.quality.distributions import distances_of_sets
from stages.lib.quality.full_reference import Distances, Prepared, distances, keep_freed_memory
from stages.lib.quality.metrics import METRICS
from stages.lib.quality.perceptual import Perceived
from stages.lib.quality.statistics import intervals, tail_of

if TYPE_CHECKING:
    from stages.lib.quality.clip_features import Clip

BATCH_SIZE = 8  # pairs in memory at a time
OF_SAMPLE = tuple(field.name for field in fields(Perceived))
AVERAGED = (*(field.name for field in fields(Distances)), *OF_SAMPLE)
OF_FEATURES = ("feature_cosine", "clip_score", "clip_score_change", "attributes_right", "attributes_right_change")
# Why something was not measured, as codes.
NO_CLIP, NOT_SAMPLED, TOO_SMALL = "no_clip", "not_sampled", "small_images"


@dataclass(frozen=True)
class Pair:
    """An image against its reference; `perceived` where it is one of the sample."""

    reference: StoredImage
    image: StoredImage
    distances: Distances
    perceived: Perceived | None = None


@dataclass(frozen=True)
class Features:
    """L2-normalised CLIP features of n pairs: (n, d) each of references, images and prompts; and every check.

    `resampled` are those of references and images through another resampling filter.
    """

    name: str
    reference: np.ndarray
    images: np.ndarray
    resampled: tuple[np.ndarray, np.ndarray]
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
        """With the features (2, n, d) of the prompts' reference images and images, through two resampling filters."""
        sides = images[0], reference[0]
        checks = [alignment.check_attributes(self.texts, seen, self.labels, self.clip.attributes) for seen in sides]
        return Features(self.clip.name, reference[0], images[0], (reference[1], images[1]), self.prompts, *checks)


Rgb = np.ndarray  # uint8 (H, W, 3)


def compare_sets(
    pairs: Iterable[tuple[StoredImage, StoredImage, Rgb, Rgb]], clip: "Clip | None"
) -> tuple[list[Pair], Features | None]:
    """Every (reference, image, its pixels, its pixels) compared, in order; features only where there is a CLIP.

    `pairs` may read from disk as it goes: no more than BATCH_SIZE pairs are in memory.
    """
    keep_freed_memory()
    compared: list[Pair] = []
    seen: list[dict[str, np.ndarray]] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        remaining = iter(pairs)
        while batch := tuple(islice(remaining, BATCH_SIZE)):
            compared += pool.map(_compare, batch)
            if clip is not None:
                seen.append(
                    clip.features_of({"before": [i[2] for i in batch], "after": [i[3] for i in batch]}, "before")
                )
    if clip is None:
        return compared, None
    reference, images = (np.concatenate([batch[side] for batch in seen], axis=1) for side in ("before", "after"))
    words = Words.read([pair.image.read for pair in compared], clip)
    return compared, words.features(reference, images)


def _compare(item: tuple[StoredImage, StoredImage, Rgb, Rgb]) -> Pair:
    reference, image, before, after = item
    check_sizes(reference, image, (before, after))
    return Pair(reference, image, distances(Prepared(before), Prepared(after)))


def paired_figures(pairs: list[Pair], features: Features | None, settings: Quality) -> dict:
    """Averages with their intervals, what was not measured and why, attributes, and every image's figures."""
    rows = image_rows(pairs, features)
    samples = {key: [row[key] for row in rows if row[key] is not None] for key in (*AVERAGED, *OF_FEATURES)}
    reasons = {}
    if not any(pair.perceived for pair in pairs):
        reasons |= dict.fromkeys(OF_SAMPLE, NOT_SAMPLED)
    if not samples["ms_ssim"]:
        reasons["ms_ssim"] = TOO_SMALL
    if features is None:
        reasons |= dict.fromkeys((*OF_FEATURES, "attributes", "distribution"), NO_CLIP)
    comparisons = [Comparison(pair.image.id, pair.distances.psnr_db, pair.distances.ssim) for pair in pairs]
    return {
        **average(comparisons),
        "averages": intervals(samples, settings.resamples, settings.seed),
        "tails": tails(rows),
        "not_measured": reasons,
        "attributes": features and alignment.count_right(features.reference_checks, features.checks),
        "per_image": rows,
    }


def distribution(features: Features | None, settings: Quality) -> dict | None:
    """Distances between the two sets of features; None without a CLIP."""
    if features is None:
        return None
    return {
        "features": features.name,
        **distances_of_sets((features.reference, features.images), features.resampled, settings.fid_images),
    }


def tails(rows: list[dict]) -> dict[str, dict]:
    """By measure that has a direction: the worst image and the 5th percentile, which means hide.

    Identical images count as better than any PSNR. A value that is theirs is None; all identical have no tail.
    """
    found = {}
    for key in (*AVERAGED, *OF_FEATURES):
        identical = math.inf if key == "psnr_db" else None
        values = {row["id"]: identical if row[key] is None else row[key] for row in rows}
        values = {id: value for id, value in values.items() if value is not None}
        if values and min(values.values()) < math.inf:
            tail = asdict(tail_of(values, METRICS[key].direction == "higher"))
            found[key] = {name: None if value == math.inf else value for name, value in tail.items()}
    return found


def image_rows(pairs: list[Pair], features: Features | None) -> list[dict]:
    """The figures of each image; None for what was not measured."""
    rows = [
        {
            "id": pair.image.id,
            "kind": pair.image.kind,
            **asdict(pair.distances),
            **(asdict(pair.perceived) if pair.perceived else dict.fromkeys(OF_SAMPLE)),
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
