"""The drawings, their scenes and their captions, as the trainings read them."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTokenizer

from stages.lib.project.errors import UserError
from training.captions import (
    COLOUR_PROMPTS,
    PLACE_PROMPTS,
    STYLE_PROMPTS,
    SUBJECT_PROMPTS,
    TIME_PROMPTS,
    caption,
    full_caption,
)
from training.scenes import Scene

ATTRIBUTES: dict[str, dict[str, str]] = {
    "subject": SUBJECT_PROMPTS,
    "place": PLACE_PROMPTS,
    "time": TIME_PROMPTS,
    "colour": COLOUR_PROMPTS,
    "style": STYLE_PROMPTS,
}
UNNAMED = -1


@dataclass(frozen=True)
class Drawings:
    """n drawings: uint8 pictures (n, H, W, 3), RGB, one scene each."""

    pictures: torch.Tensor
    scenes: list[Scene]

    def batch(self, indices: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
        """Float pictures (b, 3, H, W) in 0..1, channels-last; those whose `flipped` is True mirrored."""
        chosen = self.pictures[indices].permute(0, 3, 1, 2).float().div_(255)
        return torch.where(flipped[:, None, None, None], chosen.flip(3), chosen)


def load_scenes(work: Path, part: str) -> list[Scene]:
    """The scenes of `part` (train or heldout), in the order of the drawings."""
    path = work / f"{part}.jsonl"
    if not path.exists():
        raise UserError(f"{path} is missing: run `python -m training.render` first")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Scene(**json.loads(line)["scene"]) for line in lines]


def load_drawings(work: Path, part: str, device: torch.device) -> Drawings:
    """All drawings of `part` (train or heldout) in the memory of `device`."""
    scenes = load_scenes(work, part)
    pictures = torch.from_numpy(np.load(work / f"{part}.npy"))
    if len(pictures) != len(scenes):
        raise UserError(f"{work}/{part}.npy and .jsonl differ in length: run `python -m training.render` again")
    return Drawings(pictures.to(device), scenes)


def load_tokenizer(work: Path) -> CLIPTokenizer:
    """The tokenizer trained in `work`; a UserError where there is none."""
    folder = work / "tokenizer"
    if not folder.exists():
        raise UserError(f"{folder} is missing: run `python -m training.tokenizer` first")
    return CLIPTokenizer.from_pretrained(folder)


def captions_of(scenes: list[Scene], per_scene: int, seed: int) -> list[list[str]]:
    """For each scene `per_scene` random wordings and the full caption; the same for the same seed and scenes."""
    drawn = []
    for index, scene in enumerate(scenes):
        rng = random.Random(f"{seed} {index} captions")
        drawn.append([caption(scene, rng) for _ in range(per_scene)] + [full_caption(scene)])
    return drawn


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids (len(texts), model_max_length), padded and cut as the pipeline does it."""
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
    return torch.tensor(ids["input_ids"], dtype=torch.long)


def caption_ids(tokenizer: CLIPTokenizer, captions: list[list[str]]) -> torch.Tensor:
    """Token ids (scenes, captions per scene, model_max_length); equal texts are encoded once."""
    unique = sorted({text for texts in captions for text in texts})
    row = {text: index for index, text in enumerate(unique)}
    order = torch.tensor([[row[text] for text in texts] for texts in captions])
    return token_ids(tokenizer, unique)[order]


def label_index(attribute: str, label: str | None) -> int:
    """Position of a label among the prompts of its attribute; UNNAMED for None."""
    return UNNAMED if label is None else list(ATTRIBUTES[attribute]).index(label)
