"""PSNR, and the table of all figures that reports show: metrics.csv, a row each."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stages.lib.project.lineage import OF_VARIANTS, SUMMARY, Source

MAXIMUM = 255  # the largest value of an 8-bit channel

# The bands of the study, from the best down: an image belongs to the first band whose bound it reaches.
PSNR_BANDS = (("excellent", 40.0), ("good", 30.0), ("fair", 20.0))


@dataclass(frozen=True)
class Metric:
    """One row of metrics.csv. `format` is a format specification for `format(value, metric.format)`.

    `file` is where the figure is, as lineage names it, and `place` its dotted path in there.
    """

    key: str
    name: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    format: str
    sentence: str
    reference: str
    caveat: str
    file: str
    place: str


def psnr_db(reference: np.ndarray, image: np.ndarray) -> float | None:
    """Peak signal-to-noise ratio in dB of two uint8 images (H, W, 3); None if they are identical.

    10 log10(255^2 / MSE) over all pixels and channels. Raises ValueError if the images are not of that kind.
    """
    _check_images(reference, image)
    difference = np.subtract(reference, image, dtype=np.float64).ravel()
    squares = float(difference @ difference)  # whole numbers, so exact
    return 10 * math.log10(MAXIMUM**2 * difference.size / squares) if squares else None


def rate_psnr(value_db: float | None) -> str:
    """The study's word for a PSNR in dB: identical (None), excellent (> 40), good (30 to 40), fair (20 to 30), poor."""
    if value_db is None:
        return "identical"
    if value_db == PSNR_BANDS[0][1]:  # the best band begins above its bound, the others at theirs
        return PSNR_BANDS[1][0]
    return next((name for name, bound_db in PSNR_BANDS if value_db >= bound_db), "poor")


def _check_images(reference: np.ndarray, image: np.ndarray) -> None:
    for array in (reference, image):
        if array.dtype != "uint8" or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"expected uint8 (H, W, 3), got {array.dtype} {array.shape}")
    if reference.shape != image.shape:
        raise ValueError(f"images of different sizes: {reference.shape} and {image.shape}")


def _read() -> dict[str, Metric]:
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return {row["key"]: Metric(**row) for row in csv.DictReader(file)}


METRICS = _read()
# By key: the file of each metric, and its place in that file.
METRIC_SOURCES: dict[str, tuple[Source, str]] = {
    key: ({source.file: source for source in (*OF_VARIANTS, SUMMARY)}[metric.file], metric.place)
    for key, metric in METRICS.items()
}
