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

from stages.lib.generation.noise import image_generator, initial_latents
from stages.lib.generation.recipe import OTHER_SEED, Recipe
from stages.lib.generation.sampling import without_checker
from stages.lib.project.errors import UserError
from stages.lib.project.prompts import SEED_LIMIT, Prompt
from stages.lib.quality.clip_features import Clip, find_clip
from stages.lib.quality.clip_preprocessing import preprocess
from tools.imagenet_features import ImageNet, find_imagenet

OTHER_NOISE = "other_noise"  # the baseline's images of the same prompts from other seeds


@dataclass(frozen=True)
class Many:
    """What all batches have in common: `recipes` by variant, the baseline first, and a latent's shape (c, h, w)."""

    recipes: Mapping[str, Recipe]
    base: Path
    shape: tuple[int, ...]

    def open(self) -> "Opened":
        """All pipelines on this process's device."""
        pipelines = {name: recipe.load() for name, recipe in self.recipes.items()}
        device = next(iter(pipelines.values())).device
        clip = find_clip(self.base)
        if clip is not None:
            clip.checker.to(device)
        return Opened(pipelines, clip, find_imagenet(device))

    def do(self, opened: "Opened", prompts: Sequence[Prompt]) -> dict[str, Any]:
        """By set of images, OTHER_NOISE among them: `clip` and `imagenet` features (n, d), mean squared error (n,) of
        0 to 255 to the baseline, sha256 of all pixels."""
        baseline = next(iter(self.recipes))
        seeds = [prompt.seed for prompt in prompts]
        sets = [(name, name, seeds) for name in self.recipes]
        sets.insert(1, (OTHER_NOISE, baseline, [(seed + OTHER_SEED) % SEED_LIMIT for seed in seeds]))
        found, reference = {}, None
        for name, variant, own in sets:
            images = generate_batch(
                opened.pipelines[variant], variant, prompts, own, self.shape, self.recipes[variant].arguments
            )
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
        """Features (n, d) of uint8 images (n, H, W, 3), by network."""
        found = {}
        if self.clip is not None:
            found["clip"] = self.clip.see(preprocess(images, self.clip.preprocessing))
        if self.imagenet is not None:
            found["imagenet"] = self.imagenet.see(images)
        return {name: values.cpu().numpy() for name, values in found.items()}


def generate_batch(
    pipeline: DiffusionPipeline,
    variant: str,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    shape: tuple[int, ...],
    arguments: Mapping[str, Any],
) -> torch.Tensor:
    """Images, uint8 (n, H, W, 3), of prompts from the noise of `seeds`, in one call. NaN is a UserError."""
    noise = torch.cat([initial_latents(shape, seed) for seed in seeds])
    torch.manual_seed(seeds[0])
    with without_checker(pipeline):
        images = pipeline(
            prompt=[prompt.prompt for prompt in prompts],
            latents=noise.to(pipeline.device),
            generator=[image_generator(shape, seed) for seed in seeds],
            output_type="pt",
            **arguments,
        )[0]
    if not images.isfinite().all():
        raise UserError(f"variant '{variant}' gives NaN or infinity in a batch that begins with '{prompts[0].id}'")
    return (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def batches_of(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Prompts in order, `size` in each batch."""
    return [list(prompts[start : start + size]) for start in range(0, len(prompts), size)]
