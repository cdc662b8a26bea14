"""Does an image still show what its prompt asks for? What tells a worse image from one that is only different."""

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One attribute of one image: what the prompt names, and what a CLIP sees in it."""

    attribute: str
    asked: str
    seen: str

    @property
    def right(self) -> bool:
        """Whether the image shows what was asked for."""
        return self.asked == self.seen


def clip_scores(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """100 x cosine, (n,), of image and text features (n, d), both L2-normalised; negative cosines count as 0.

    Hessel et al., "CLIPScore", EMNLP 2021, arXiv:2104.08718, without its factor of 2.5, as MLPerf reports it.
    """
    cosines = (images.astype(np.float64) * texts.astype(np.float64)).sum(axis=1)
    return 100 * np.maximum(cosines, 0)


def feature_cosines(reference: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Cosine (n,), -1 to 1, of L2-normalised features (n, d) of each image and its reference."""
    return (reference.astype(np.float64) * images.astype(np.float64)).sum(axis=1)


def named_attributes(prompt: str, classes: list[dict]) -> dict[str, str]:
    """What `prompt` asks for, by attribute; empty if it names nothing. `classes` is a model's clip/attributes.json."""
    text = prompt.lower()
    found = {}
    for entry in classes:
        label = next(
            (item["label"] for item in entry["labels"] if item["pattern"] and re.search(item["pattern"], text)), None
        )
        if label is not None:
            found[entry["attribute"]] = label
    if found.keys() & {"subject", "place", "time"}:
        found |= {e["attribute"]: e["unnamed"] for e in classes if e["unnamed"] and e["attribute"] not in found}
    return found


def class_texts(classes: list[dict]) -> list[str]:
    """The text of every label of every attribute, in the order in which `check_attributes` takes their features."""
    return [item["text"] for entry in classes for item in entry["labels"]]


def check_attributes(
    prompts: list[str], images: np.ndarray, texts: np.ndarray, classes: list[dict]
) -> list[list[Check]]:
    """For each image a check of every attribute that its prompt names.

    `images` (n, d) and `texts` (labels, d) are L2-normalised features; the label whose text is nearest is seen.
    """
    seen: list[dict[str, str]] = [{} for _ in prompts]
    start = 0
    for entry in classes:
        stop = start + len(entry["labels"])
        for row, index in zip(seen, (images @ texts[start:stop].T).argmax(axis=1), strict=True):
            row[entry["attribute"]] = entry["labels"][index]["label"]
        start = stop
    return [
        [Check(attribute, asked, row[attribute]) for attribute, asked in named_attributes(prompt, classes).items()]
        for prompt, row in zip(prompts, seen, strict=True)
    ]


def count_right(reference: list[list[Check]], images: list[list[Check]]) -> dict[str, dict[str, int]]:
    """By attribute and for all together: asked, right, right in the reference, lost (right there alone), gained."""
    counts: dict[str, dict[str, int]] = {}
    for before, after in zip(reference, images, strict=True):
        for old, new in zip(before, after, strict=True):
            for key in ("all", new.attribute):
                row = counts.setdefault(key, dict.fromkeys(("asked", "right", "baseline_right", "lost", "gained"), 0))
                row["asked"] += 1
                row["right"] += new.right
                row["baseline_right"] += old.right
                row["lost"] += old.right and not new.right
                row["gained"] += new.right and not old.right
    return counts
