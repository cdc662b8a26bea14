"""Parts of the first model, read from its published folder: the second one is built upon them.

The folder is in Git, so the second model can be trained without training the first one again.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from stages.lib.project.errors import UserError

PARTS = ("vae", "text_encoder", "tokenizer", "clip", "safety_checker", "feature_extractor")


def check(folder: Path) -> None:
    """A UserError when a part is missing from `folder`."""
    missing = [name for name in PARTS if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}: give the first model's folder with --first-model")


def vae(folder: Path) -> AutoencoderKL:
    """The autoencoder in FP32."""
    return AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()


def tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of both models."""
    return CLIPTokenizer.from_pretrained(folder / "tokenizer")


def text_encoder(folder: Path, layers: int) -> CLIPTextModelWithProjection:
    """The U-Net's text encoder cut off after `layers` layers, with a projection that starts as the identity."""
    source = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    if not 2 <= layers <= source.config.num_hidden_layers:
        raise UserError(f"transformer.text_layers is {layers}: give 2 to {source.config.num_hidden_layers}")
    config = type(source.config)(**source.config.to_dict() | {"num_hidden_layers": layers})
    encoder = CLIPTextModelWithProjection(config)
    # Some releases of transformers put `text_model.` before the names of one class and not of the other.
    weights = {name.removeprefix("text_model."): value for name, value in source.state_dict().items()}
    encoder.load_state_dict(
        {
            name: torch.eye(*value.shape) if name == "text_projection.weight" else weights[_bare(name)]
            for name, value in encoder.state_dict().items()
        }
    )
    return encoder.eval()


def clip_text(folder: Path) -> CLIPTextModelWithProjection:
    """The text tower of the CLIP in FP32."""
    return CLIPTextModelWithProjection.from_pretrained(folder / "clip", dtype=torch.float32).eval()


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")
