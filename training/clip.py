"""The embedded model's own CLIP: image and text features from the pipeline folder's towers.

The vision tower is the safety checker's, so it is stored once; the text tower lies in clip/. Its features are this
model's own: a score made from them cannot be compared with one made from OpenAI's CLIP.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.quality.clip_preprocessing import preprocess

BATCH_SIZE = 64


class EmbeddedClip:
    """Both towers in FP32 on one device, in eval mode."""

    def __init__(
        self,
        text: CLIPTextModelWithProjection,
        checker: StableDiffusionSafetyChecker,
        tokenizer: CLIPTokenizer,
        preprocessing: dict,
        logit_scale: float,
    ) -> None:
        self.text, self.checker, self.tokenizer = text.eval(), checker.eval(), tokenizer
        self.preprocessing = preprocessing
        self.logit_scale = logit_scale

    @property
    def device(self) -> torch.device:
        """Where both towers lie."""
        return self.checker.device

    def to(self, device: str | torch.device) -> "EmbeddedClip":
        """Move both towers; returns self."""
        self.text.to(device)
        self.checker.to(device)
        return self

    @torch.no_grad()
    def image_features(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """L2-normalised features (n, d), FP32 on the CPU, of uint8 RGB images (n, H, W, 3)."""
        images = torch.as_tensor(images)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be uint8 (n, H, W, 3), got {images.dtype} {tuple(images.shape)}")
        batches = []
        for batch in images.split(BATCH_SIZE):
            values = preprocess(batch.to(self.device), self.preprocessing)
            pooled = self.checker.vision_model(values).pooler_output
            batches.append(normalize(self.checker.visual_projection(pooled), dim=-1).cpu())
        return torch.cat(batches)

    @torch.no_grad()
    def text_features(self, texts: list[str]) -> torch.Tensor:
        """L2-normalised features (n, d), FP32 on the CPU, of n texts; a text past the tokenizer's length is cut."""
        batches = []
        for start in range(0, len(texts), BATCH_SIZE):
            batch = texts[start : start + BATCH_SIZE]
            ids = self.tokenizer(batch, padding="max_length", truncation=True, return_tensors="pt").input_ids
            batches.append(normalize(self.text(ids.to(self.device)).text_embeds, dim=-1).cpu())
        return torch.cat(batches)

    def zero_shot(self, images: np.ndarray | torch.Tensor, labels: dict[str, str]) -> list[str]:
        """For each image the label whose text (`labels`: label to text) is nearest to it."""
        similarity = self.image_features(images) @ self.text_features(list(labels.values())).T
        names = list(labels)
        return [names[index] for index in similarity.argmax(dim=1).tolist()]


def load_clip(folder: Path) -> EmbeddedClip:
    """The CLIP of the pipeline in `folder`, on the CPU; a UserError where the folder has none."""
    if not (folder / "clip" / "config.json").exists():
        raise UserError(f"{folder}/clip is missing: only the embedded model brings a CLIP, give its folder")
    return EmbeddedClip(
        text=CLIPTextModelWithProjection.from_pretrained(folder / "clip"),
        checker=StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        preprocessing=read_json(folder / "feature_extractor" / "preprocessor_config.json"),
        logit_scale=read_json(folder / "clip" / "scale.json")["logit_scale"],
    )
