"""Words for what a format does to images: figures of stages.lib.quality.artefacts, compared over many pairs, and
graded.

A shift is an image's figure minus that of the baseline's image of the same prompt and noise. A format is called
damaged in one respect if its mean shift reaches a threshold and its 99 % interval (Student's t over images) leaves
zero out: an image that only came out differently shifts either way, damage shifts all images one way. The thresholds
are about what known damage of a weak, a middle and a strong kind does (stages.lib.quality.known_artefacts; tests hold
them to it).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from stages.lib.quality.artefacts import BLACK, FLAT, Figures

GRADES = ("none", "slight", "moderate", "strong")
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Measure:
    """One respect in which images can be damaged.

    `harmful` is the direction of the shift that is damage; `thresholds` begin the grades slight, moderate and strong,
    in the unit of the figure.
    """

    harmful: Literal["up", "down", "both"]
    thresholds: tuple[float, float, float]


MEASURES = {
    "blur": Measure("up", (0.02, 0.06, 0.12)),
    "detail_db": Measure("down", (0.6, 2.0, 4.0)),
    "blockiness": Measure("up", (0.15, 0.5, 1.0)),
    "posterization_bits": Measure("up", (0.45, 1.3, 2.2)),
    "noise": Measure("up", (0.5, 1.5, 3.0)),
    "mottling": Measure("up", (0.15, 0.5, 1.5)),
    "lightness": Measure("both", (1.0, 3.0, 6.0)),
    "green_red": Measure("both", (1.0, 3.0, 6.0)),
    "blue_yellow": Measure("both", (1.0, 3.0, 6.0)),
}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 99 % interval of the mean of two or more values, by Student's t. Equal values give a point."""
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def grade(measure: Measure, shift: float) -> str:
    """The word for a shift taken at face value."""
    harm = {"up": shift, "down": -shift, "both": abs(shift)}[measure.harmful]
    return GRADES[sum(harm >= bound for bound in measure.thresholds)]


def judge(measure: Measure, shifts: Sequence[float]) -> dict[str, Any]:
    """Mean shift over images, its interval, its grade, and how many images show as much by themselves.

    `detectable`: the smallest mean shift that would have been graded, with the spread that these images have. One image
    alone has no interval and is not graded: `grade` is None.
    """
    mean = fmean(shifts)
    if len(shifts) < 2:
        none = dict.fromkeys(("low", "high", "detectable", "grade", "images_affected"))
        return {"shift": mean, **none, "images": len(shifts)}
    low, high = interval(shifts)
    word = "none" if low <= 0 <= high else grade(measure, mean)
    harmed = [shift for shift in shifts if shift * mean > 0 and GRADES.index(grade(measure, shift)) > 0]
    return {
        "shift": mean,
        "low": low,
        "high": high,
        "detectable": max(measure.thresholds[0], (high - low) / 2),
        "grade": word,
        "images_affected": len(harmed),
        "images": len(shifts),
    }


def shift_of(reference: Figures, image: Figures) -> dict[str, float]:
    """Every measure's figure of `image` minus that of `reference`."""
    return {key: getattr(image, key) - getattr(reference, key) for key in MEASURES}


def judge_all(references: Sequence[Figures], images: Sequence[Figures]) -> dict[str, dict[str, Any]]:
    """By measure: what `judge` says of the pairs of equal position."""
    shifts = [shift_of(*pair) for pair in zip(references, images, strict=True)]
    return {key: judge(measure, [shift[key] for shift in shifts]) for key, measure in MEASURES.items()}


def seen(judged: dict[str, dict[str, Any]]) -> list[str]:
    """The measures in which something was seen."""
    return [key for key, item in judged.items() if item["grade"] not in (None, "none")]


def why_black(reference: Figures, image: Figures, flagged: bool) -> str | None:
    """Why an image has nothing to see; None if there is something.

    - "scene": the baseline's image is as black or flat.
    - "flagged": black, and the safety checker would block it; nothing here blackens images, so look who did.
    - "broken": black or flat alone; NaN and infinity end so where they are not stopped.
    """
    if not is_blank(image):
        return None
    if is_blank(reference):
        return "scene"
    return "flagged" if flagged and image.luma_mean < BLACK else "broken"


def is_blank(figures: Figures) -> bool:
    """Black, or without any structure."""
    return figures.luma_mean < BLACK or figures.luma_std < FLAT


def image_row(id: str, reference: Figures, image: Figures, flagged: bool) -> dict[str, Any]:
    """One image's figures, their shifts and, if it is blank, why."""
    return {
        "id": id,
        **asdict(image),
        "shifts": shift_of(reference, image),
        "black": why_black(reference, image, flagged),
    }
