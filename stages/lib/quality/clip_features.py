"""Features of images and texts from the CLIP that a model brings.

The vision tower is the model's safety checker's, the text tower lies in clip/ (Radford et al., "Learning transferable
visual models from natural language supervision", 2021, arXiv:2103.00020). The features are this model's own: a figure
made from them cannot be compared with one made from another CLIP.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.quality.clip_preprocessing import preprocess

BATCH_SIZE = 8  # images or texts at a time
RESAMPLINGS = ("bicubic", "bilinear")  # the filter that images are given through, and another one to see what it does
FROM_DISK = {"local_files_only": True, "use_safetensors": True}


class Clip:
    """Both towers of the model folder `base`, FP32 on the CPU. `name` says whose features they are."""

    name = "own_clip"

    def __init__(self, base: Path) -> None:
        self.text = CLIPTextModelWithProjection.from_pretrained(base / "clip", **FROM_DISK).eval()
        self.checker = StableDiffusionSafetyChecker.from_pretrained(base / "safety_checker", **FROM_DISK).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        self.preprocessing = read_json(base / "feature_extractor/preprocessor_config.json")
        self.attributes = read_json(base / "clip/attributes.json")["attributes"]

    @torch.no_grad()
    def image_features(self, images: np.ndarray, resampling: str = "bicubic") -> np.ndarray:
        """L2-normalised features (n, d), FP32, of uint8 RGB images (n, H, W, 3); `resampling` as in preprocess."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"expected uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
        batches = torch.from_numpy(images).split(BATCH_SIZE)
        return torch.cat([self.see(preprocess(batch, self.preprocessing, resampling)) for batch in batches]).numpy()

    def see(self, values: torch.Tensor) -> torch.Tensor:
        """L2-normalised features (n, d) of what `preprocess` gives, on the device of the checker."""
        pooled = self.checker.vision_model(values).pooler_output
        return normalize(self.checker.visual_projection(pooled), dim=-1)

    def features_of(self, rgb: Mapping[str, Sequence[np.ndarray]], baseline: str) -> dict[str, np.ndarray]:
        """Features (2, n, d) of each variant's n images, uint8 (H, W, 3), through each of RESAMPLINGS.

        Pixels equal to the baseline's are looked at once, so that they have equal features.
        """

        def see(images: list[np.ndarray]) -> np.ndarray:
            return np.stack([self.image_features(np.stack(images), resampling) for resampling in RESAMPLINGS])

        reference, found = see(list(rgb[baseline])), {}
        for name, images in rgb.items():
            found[name] = reference.copy()
            pairs = zip(rgb[baseline], images, strict=True)
            if changed := [number for number, (before, after) in enumerate(pairs) if (before != after).any()]:
                found[name][:, changed] = see([images[number] for number in changed])
        return found

    @torch.no_grad()
    def text_features(self, texts: list[str]) -> np.ndarray:
        """L2-normalised features (n, d), FP32, of n texts; what does not fit into the text tower is cut off."""
        most = self.text.config.max_position_embeddings  # the tokenizer's files need not say
        options = {"padding": "max_length", "max_length": most, "truncation": True, "return_tensors": "pt"}
        tokens = self.tokenizer(texts, **options).input_ids
        return torch.cat([normalize(self.text(ids).text_embeds, dim=-1) for ids in tokens.split(BATCH_SIZE)]).numpy()


def find_clip(base: Path) -> Clip | None:
    """The CLIP of the model in `base`; None where the model brings none."""
    if not base.is_dir():
        raise UserError(f"{base} is missing: run `dvc repro download` to bring the model")
    return Clip(base) if (base / "clip").is_dir() else None
