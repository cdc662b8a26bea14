"""The networks of the first model, built from the parameters with random weights."""

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from training import settings


def vae(values: settings.Autoencoder) -> AutoencoderKL:
    """A convolutional autoencoder that halves the picture at every level but the first."""
    levels = len(values.block_out_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(values.block_out_channels),
        layers_per_block=values.layers_per_block,
        latent_channels=values.latent_channels,
        norm_num_groups=values.norm_num_groups,
        sample_size=values.picture_size,
    )


def unet(values: settings.Diffusion, autoencoder: settings.Autoencoder) -> UNet2DConditionModel:
    """Stable Diffusion's U-Net in small: cross-attention everywhere but at the finest level."""
    attended = len(values.block_out_channels) - 1
    return UNet2DConditionModel(
        sample_size=autoencoder.picture_size // 2 ** (len(autoencoder.block_out_channels) - 1),
        in_channels=autoencoder.latent_channels,
        out_channels=autoencoder.latent_channels,
        layers_per_block=values.layers_per_block,
        block_out_channels=tuple(values.block_out_channels),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * attended),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=(*("CrossAttnUpBlock2D",) * attended, "UpBlock2D"),
        cross_attention_dim=values.text_hidden_size,
        # diffusers reads this as the number of heads (its issue 2011), as Stable Diffusion v1.5's config does.
        attention_head_dim=values.attention_heads,
        norm_num_groups=values.norm_num_groups,
    )


def text_encoder(values: settings.Diffusion, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The U-Net's own text encoder, trained together with it."""
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=values.text_hidden_size,
            intermediate_size=values.text_intermediate_size,
            num_hidden_layers=values.text_layers,
            num_attention_heads=values.text_heads,
            projection_dim=values.text_hidden_size,
            **_token_fields(tokenizer),
        )
    )


def clip_config(values: settings.Clip, tokenizer: CLIPTokenizer) -> CLIPConfig:
    """Both towers' configuration; the safety checker is built from it too."""
    shared = {
        "hidden_size": values.hidden_size,
        "intermediate_size": values.intermediate_size,
        "num_attention_heads": values.heads,
        "projection_dim": values.projection_dim,
    }
    text = CLIPTextConfig(num_hidden_layers=values.text_layers, **shared, **_token_fields(tokenizer))
    vision = CLIPVisionConfig(
        num_hidden_layers=values.vision_layers,
        image_size=values.image_size,
        patch_size=values.patch_size,
        **shared,
    )
    return CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=values.projection_dim)


class Clip(torch.nn.Module):
    """A text and a vision tower with projections, their temperature, and a direction that means fire."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.text = CLIPTextModelWithProjection(config.text_config)
        self.vision = CLIPVisionModelWithProjection(config.vision_config)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.6592))
        self.fire_direction = torch.nn.Parameter(torch.randn(config.projection_dim))
        self.fire_threshold = torch.nn.Parameter(torch.zeros(()))


class Diffusion(torch.nn.Module):
    """The U-Net and its text encoder, trained as one."""

    def __init__(self, values: settings.Settings, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = unet(values.diffusion, values.autoencoder)
        self.text_encoder = text_encoder(values.diffusion, tokenizer)


def scheduler() -> PNDMScheduler:
    """Stable Diffusion v1.5's scheduler."""
    return PNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def _token_fields(tokenizer: CLIPTokenizer) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
