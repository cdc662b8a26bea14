"""The transformer of the second model with its text encoders, built upon parts of the first model."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

from training import first_model, settings
from training.counted_attention import CountedAttention, with_stored_tokens

HEAD_WIDTH = 64


class Transformer(torch.nn.Module):
    """The transformer and its text encoders: one that is trained together with it and the CLIP's, which is not."""

    def __init__(self, values: settings.Settings, first: Path) -> None:
        super().__init__()
        self.text_encoder = first_model.text_encoder(first, values.transformer.text_layers)
        self.text_encoder_2 = first_model.clip_text(first).requires_grad_(False)
        widths = (self.text_encoder.config, self.text_encoder_2.config)
        self.transformer = transformer(
            values.transformer,
            values.autoencoder,
            text_width=sum(config.hidden_size for config in widths),
            pooled_width=sum(config.projection_dim for config in widths),
        )

    def forward(self, noisy: torch.Tensor, time: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Velocity (b, c, h, w), noise minus latents, at times (b) in 0..1 for captions (b, n) of token ids.

        Needs the attention of `count_empty_tokens`. The text goes in as StableDiffusion3Pipeline puts it in.
        """
        texts = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        return self.transformer(
            hidden_states=noisy,
            timestep=1000 * time,
            encoder_hidden_states=with_stored_tokens(torch.cat([text.hidden_states[-2] for text in texts], dim=-1)),
            pooled_projections=torch.cat([text.text_embeds for text in texts], dim=-1),
            return_dict=False,
        )[0]

    def count_empty_tokens(self) -> "Transformer":
        """Set the attention that trainings use; returns self."""
        self.transformer.set_attn_processor(CountedAttention())
        return self


def transformer(
    values: settings.Transformer, autoencoder: settings.Autoencoder, text_width: int, pooled_width: int
) -> SD3Transformer2DModel:
    """Stable Diffusion 3's transformer in small; every block starts as the identity and the output as zero."""
    side = autoencoder.picture_size // 2 ** (len(autoencoder.block_out_channels) - 1)
    network = SD3Transformer2DModel(
        sample_size=side,
        patch_size=values.patch_size,
        in_channels=autoencoder.latent_channels,
        out_channels=autoencoder.latent_channels,
        num_layers=values.layers,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=values.heads,
        joint_attention_dim=text_width,
        caption_projection_dim=HEAD_WIDTH * values.heads,
        pooled_projection_dim=pooled_width,
        pos_embed_max_size=side // values.patch_size,
        qk_norm="rms_norm",
    )
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.zeros_(module.bias)
    # As https://arxiv.org/abs/2212.09748 does: modulation and the last layer start at zero.
    blocks = [norm.linear for block in network.transformer_blocks for norm in (block.norm1, block.norm1_context)]
    for linear in (*blocks, network.norm_out.linear, network.proj_out):
        torch.nn.init.zeros_(linear.weight)
    return network


def flow_scheduler(values: settings.Transformer) -> FlowMatchEulerDiscreteScheduler:
    """Stable Diffusion 3's scheduler."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=values.schedule_shift)
