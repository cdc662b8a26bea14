"""The values of training/params.yaml as frozen dataclasses: an unknown, missing or mistyped key is an error."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.project.errors import UserError


@dataclass(frozen=True)
class Fit:
    """One optimisation: AdamW under a cosine schedule with a linear warm-up, and an average of the weights.

    `compile` uses torch.compile, `bfloat16` autocast.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    ema_decay: float
    compile: bool
    bfloat16: bool


@dataclass(frozen=True)
class Render:
    train_count: int
    heldout_count: int
    heldout_first_seed: int
    captions_per_scene: int


@dataclass(frozen=True)
class Tokenizer:
    vocab_size: int
    max_length: int


@dataclass(frozen=True)
class Clip:
    hidden_size: int
    intermediate_size: int
    text_layers: int
    vision_layers: int
    heads: int
    image_size: int
    patch_size: int
    projection_dim: int
    fit: Fit


@dataclass(frozen=True)
class Autoencoder:
    picture_size: int
    block_out_channels: list
    layers_per_block: int
    latent_channels: int
    norm_num_groups: int
    kl_weight: float
    squared_error_share: float
    fit: Fit
    decoder_fit: Fit


@dataclass(frozen=True)
class Diffusion:
    block_out_channels: list
    layers_per_block: int
    norm_num_groups: int
    attention_heads: int
    text_hidden_size: int
    text_intermediate_size: int
    text_layers: int
    text_heads: int
    snr_gamma: float
    caption_dropout: float
    fit: Fit


@dataclass(frozen=True)
class Guidance:
    pipeline_scale: float
    effective_scale_clean: float
    effective_scale_noise: float
    guided_weight: float
    fit: Fit


@dataclass(frozen=True)
class Transformer:
    layers: int
    heads: int
    patch_size: int
    text_layers: int
    schedule_shift: float
    uniform_time_share: float
    caption_dropout: float
    fit: Fit


@dataclass(frozen=True)
class Thresholds:
    reconstruction_psnr_db: float
    drawing_subject: float
    drawing_place: float
    generated_subject: float
    generated_place: float
    generated_colour: float
    fire_flagged: float
    other_flagged: float


@dataclass(frozen=True)
class Evaluate:
    reconstruction_count: int
    caption_count: int
    inference_steps: int
    guidance_scale: float
    batch_size: int
    thresholds: Thresholds


@dataclass(frozen=True)
class Tuning:
    """What is learned for one format; `activation_bits` 0: activations are not rounded."""

    weight_bits: int
    activation_bits: int
    components: list
    rank: int
    fit: Fit


@dataclass(frozen=True)
class Tune:
    prompts: int
    int4: Tuning
    w8a8: Tuning


@dataclass(frozen=True)
class Settings:
    seed: int
    render: Render
    tokenizer: Tokenizer
    clip: Clip
    autoencoder: Autoencoder
    diffusion: Diffusion
    guidance: Guidance
    transformer: Transformer
    transformer_guidance: Guidance
    evaluate: Evaluate
    tune: Tune


def load_settings(path: Path) -> Settings:
    """Read and check a params file; raises UserError naming the file, the key and the remedy."""
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give the training's parameters with --params") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    return _checked(Settings, content, path, "")


def _checked(kind: type, value: Any, path: Path, key: str) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict):
            raise UserError(f"{path}: {key or 'the file'} must be a mapping with the keys {sorted(hints)}")
        if set(value) != set(hints):
            raise UserError(
                f"{path}: {key or 'the file'} has unknown keys {sorted(set(value) - set(hints))} and lacks "
                f"{sorted(set(hints) - set(value))}: correct them"
            )
        return kind(**{name: _checked(hints[name], value[name], path, f"{key}.{name}") for name in hints})
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{path}: {key.lstrip('.')} is {value!r}: give it as {kind.__name__}")
    return value
