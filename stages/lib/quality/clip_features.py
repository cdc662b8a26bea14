"""Features of images and texts from the CLIP that a model brings, without the libraries that take seconds to import.

The vision tower is the model's safety checker's, the text tower lies in clip/ (Radford et al., "Learning transferable
visual models from natural language supervision", 2021, arXiv:2103.00020). The features are this model's own: a figure
made from them cannot be compared with one made from another CLIP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import conv2d, gelu, layer_norm, linear, normalize, scaled_dot_product_attention

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.quality.clip_preprocessing import preprocess

BATCH_SIZE = 8  # images or texts at a time
RESAMPLINGS = ("bicubic", "bilinear")  # the filter that images are given through, and another one to see what it does
ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": gelu}
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Tower:
    """One transformer of a CLIP: FP32 weights by their names in the file, and its config.json section."""

    prefix: str
    weights: Weights
    config: dict

    def parameter(self, name: str) -> torch.Tensor:
        """The weight `name` of this tower."""
        return self.weights[f"{self.prefix}.{name}"]

    def normed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Layer normalisation `name` of (n, t, d)."""
        weight, bias = self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias")
        return layer_norm(x, x.shape[-1:], weight, bias, self.config.get("layer_norm_eps", 1e-5))

    def dense(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Linear layer `name`."""
        return linear(x, self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias"))

    def encode(self, x: torch.Tensor, causal: bool) -> torch.Tensor:
        """All layers of the encoder on (n, t, d); `causal`: a token sees itself and those before it."""
        activation = ACTIVATIONS[self.config["hidden_act"]]
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layers.{number}"
            x = x + self._attention(self.normed(x, f"{layer}.layer_norm1"), f"{layer}.self_attn", causal)
            inner = activation(self.dense(self.normed(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1"))
            x = x + self.dense(inner, f"{layer}.mlp.fc2")
        return x

    def _attention(self, x: torch.Tensor, name: str, causal: bool) -> torch.Tensor:
        heads = self.config["num_attention_heads"]
        query, key, value = (
            self.dense(x, f"{name}.{part}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for part in "qkv"
        )
        attended = scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.dense(attended.transpose(1, 2).flatten(2), f"{name}.out_proj")


class Clip:
    """Both towers of the model folder `base`, FP32 on the CPU. `name` says whose features they are."""

    name = "own_clip"

    def __init__(self, base: Path) -> None:
        from tokenizers import Tokenizer

        vision = read_json(base / "safety_checker/config.json")["vision_config"]
        text = read_json(base / "clip/config.json")
        self.vision = Tower("vision_model", load_file(base / "safety_checker/model.safetensors"), vision)
        self.text = Tower("text_model", load_file(base / "clip/model.safetensors"), text)
        self.preprocessing = read_json(base / "feature_extractor/preprocessor_config.json")
        self.attributes = read_json(base / "clip/attributes.json")["attributes"]
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer/tokenizer.json"))

    @torch.no_grad()
    def image_features(self, images: np.ndarray, resampling: str = "bicubic") -> np.ndarray:
        """L2-normalised features (n, d), FP32, of uint8 RGB images (n, H, W, 3); `resampling` as in preprocess."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"expected uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
        batches = torch.from_numpy(images).split(BATCH_SIZE)
        return torch.cat([self._see(preprocess(batch, self.preprocessing, resampling)) for batch in batches]).numpy()

    def _see(self, values: torch.Tensor) -> torch.Tensor:
        tower = self.vision
        patch = tower.config["patch_size"]
        patches = conv2d(values, tower.parameter("embeddings.patch_embedding.weight"), stride=patch)
        first = tower.parameter("embeddings.class_embedding").expand(len(values), 1, -1)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + tower.parameter("embeddings.position_embedding.weight")
        encoded = tower.encode(tower.normed(tokens, "pre_layrnorm"), causal=False)
        pooled = tower.normed(encoded[:, 0], "post_layernorm")
        return normalize(linear(pooled, tower.weights["visual_projection.weight"]), dim=-1)

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
        batches = torch.tensor([self._tokens(text) for text in texts]).split(BATCH_SIZE)
        return torch.cat([self._read(ids) for ids in batches]).numpy()

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        tower = self.text
        tokens = tower.parameter("embeddings.token_embedding.weight")[ids]
        tokens = tokens + tower.parameter("embeddings.position_embedding.weight")
        encoded = tower.normed(tower.encode(tokens, causal=True), "final_layer_norm")
        ends = (ids == tower.config["eos_token_id"]).int().argmax(dim=1)
        pooled = encoded[torch.arange(len(ids)), ends]
        return normalize(linear(pooled, tower.weights["text_projection.weight"]), dim=-1)

    def _tokens(self, text: str) -> list[int]:
        """The token numbers of a text with its beginning and end, padded to the tower's length."""
        config = self.text.config
        length = config["max_position_embeddings"]
        words = self.tokenizer.encode(text, add_special_tokens=False).ids[: length - 2]
        ids = [config["bos_token_id"], *words, config["eos_token_id"]]
        return ids + [config["pad_token_id"]] * (length - len(ids))


def find_clip(base: Path) -> Clip | None:
    """The CLIP of the model in `base`; None where the model brings none."""
    if not base.is_dir():
        raise UserError(f"{base} is missing: run `dvc repro download` to bring the model")
    return Clip(base) if (base / "clip").is_dir() else None
