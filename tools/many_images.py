"""Thousands of images of several formats on one device, a batch of prompts at a time; features are kept, images not.

A batch is computed by the pipeline's own call with a list of prompts, each image from its own noise. Batches are the
same however many devices share them, so that figures and digests are the same, too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from stages.lib.generation.recipe import Recipe, other_seed
from stages.lib.generation.sampling import generate_batch
from stages.lib.project.prompts import Prompt
from stages.lib.quality.clip_features import Clip, find_clip
from stages.lib.quality.clip_preprocessing import preprocess
from tools.imagenet_features import ImageNet, find_imagenet

OTHER_NOISE = "other noise"  # the baseline's images of the same prompts from other seeds; no variant's key has a blank


@dataclass(frozen=True)
class Many:
    """What all batches have in common: `recipes` by variant, the baseline first, `base`, the folder of the model as it
    came, and `shape`, that of one image's noise, such as (c, h, w)."""

    recipes: Mapping[str, Recipe]
    base: Path
    shape: tuple[int, ...]

    @property
    def device(self) -> str:
        """ "cuda" if one of the variants runs there, else "cpu"."""
        return "cuda" if any(recipe.device == "cuda" for recipe in self.recipes.values()) else "cpu"

    def open(self) -> "Opened":
        """All pipelines, each on its device; the networks that look at images are on the baseline's."""
        pipelines = {name: recipe.load() for name, recipe in self.recipes.items()}
        device = next(iter(pipelines.values())).device
        clip = find_clip(self.base)
        if clip is not None:
            clip.checker.to(device)
        return Opened(pipelines, clip, find_imagenet(device))

    def do(self, opened: "Opened", prompts: Sequence[Prompt]) -> dict[str, Any]:
        """By set of images, OTHER_NOISE among them: `clip` (L2-normalised) and `imagenet` features, FP32 (n, d),
        `squared_error` (n,), the mean over pixels to the baseline's image of the same noise, 0 to 255 squared, and
        `sha256` of all pixels."""
        baseline = next(iter(self.recipes))
        seeds = [prompt.seed for prompt in prompts]
        sets = [(name, name, seeds) for name in self.recipes]
        sets.insert(1, (OTHER_NOISE, baseline, [other_seed(seed) for seed in seeds]))
        found, reference = {}, None
        for name, variant, own in sets:
            images = generate_batch(
                opened.pipelines[variant], variant, prompts, own, self.shape, self.recipes[variant].arguments
            )
            images = images if reference is None else images.to(reference.device)
            digest = hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest()
            reference = images if reference is None else reference
            error = (images.double() - reference.double()).square().mean((1, 2, 3)).cpu().numpy()
            found[name] = {**opened.features(images), "squared_error": error, "sha256": digest}
        return found


@dataclass(frozen=True)
class Opened:
    """The pipelines by variant, and the networks that look at their images, on one device."""

    pipelines: dict[str, DiffusionPipeline]
    clip: Clip | None
    imagenet: ImageNet | None

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        """Features, FP32 (n, d), of images (n, H, W, 3), uint8 of 0 to 255, by network."""
        found = {}
        if self.clip is not None:
            found["clip"] = self.clip.see(preprocess(images, self.clip.preprocessing))
        if self.imagenet is not None:
            found["imagenet"] = self.imagenet.see(images)
        return {name: values.cpu().numpy() for name, values in found.items()}


def batches_of(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Prompts in order, `size` (1 or more) in each batch, the last one with what is left."""
    return [list(prompts[start : start + size]) for start in range(0, len(prompts), size)]
