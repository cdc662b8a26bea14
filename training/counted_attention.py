"""Stable Diffusion 3's attention with a few tokens that count as many: training without the cost of empty tokens.

Without a T5, the pipeline puts EMPTY_TOKENS zeros in place of its tokens. Nothing tells one of them from another, so
they stay equal through all layers; STORED_TOKENS of them, each with the weight of EMPTY_TOKENS / STORED_TOKENS in every
softmax, give the same result.
"""

import math

import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import pad, scaled_dot_product_attention

# The pipeline's default `max_sequence_length`.
EMPTY_TOKENS = 256
# Makes the sequence of 256 image tokens, 36 text tokens and these a multiple of eight.
STORED_TOKENS = 4


def with_stored_tokens(states: torch.Tensor) -> torch.Tensor:
    """Text states (b, n, d) with STORED_TOKENS zeros behind them."""
    return pad(states, (0, 0, 0, STORED_TOKENS))


class CountedAttention:
    """diffusers' JointAttnProcessor2_0 in which the last STORED_TOKENS context tokens count EMPTY_TOKENS times."""

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **unused: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        image_tokens = hidden_states.shape[1]

        def heads(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(2, (attn.heads, -1)).transpose(1, 2)

        query = attn.norm_q(heads(attn.to_q(hidden_states)))
        key = attn.norm_k(heads(attn.to_k(hidden_states)))
        value = heads(attn.to_v(hidden_states))
        query = torch.cat([query, attn.norm_added_q(heads(attn.add_q_proj(encoder_hidden_states)))], dim=2)
        key = torch.cat([key, attn.norm_added_k(heads(attn.add_k_proj(encoder_hidden_states)))], dim=2)
        value = torch.cat([value, heads(attn.add_v_proj(encoder_hidden_states))], dim=2)
        # The norms may give FP32 under autocast.
        query, key = query.to(value.dtype), key.to(value.dtype)
        bias = value.new_zeros(1, 1, 1, key.shape[2])
        bias[..., -STORED_TOKENS:] = math.log(EMPTY_TOKENS / STORED_TOKENS)
        bias = bias.expand(-1, -1, query.shape[2], -1)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).flatten(2)
        image, context = mixed[:, :image_tokens], mixed[:, image_tokens:]
        if not attn.context_pre_only:
            context = attn.to_add_out(context)
        return attn.to_out[0](image), context
