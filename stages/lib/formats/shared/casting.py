"""Weights in another dtype than they came in, and networks that compute in another than their weights are stored in.

The arithmetic dtype may differ from the stored one (FP16 weights on a CPU): then a weight stays as it is stored and
is cast each time a layer reads it, one layer at a time. Between networks, and in the scheduler, everything is FP32,
so that only the networks themselves differ between variants and components of different dtypes work together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from stages.lib.project.errors import UserError


def cast_state(state: Mapping[str, torch.Tensor], dtype: str, source: Path) -> dict[str, torch.Tensor]:
    """The floating-point tensors of `state` as `dtype`. UserError names `source` and a tensor that overflows."""
    target = getattr(torch, dtype)
    cast = {name: tensor.to(target) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, tensor in cast.items():
        if tensor.is_floating_point() and not torch.equal(tensor.isfinite(), state[name].isfinite()):
            raise UserError(
                f"{source}: tensor '{name}' has the magnitude {state[name].abs().max().item():.6g}, too large for "
                f"{dtype} (at most {torch.finfo(target).max:.6g}): use bfloat16 or float32, or leave "
                f"'{source.name}' out of `components`"
            )
    return cast


def compute_in(network: nn.Module, component: str, dtype: str) -> None:
    """Make a loaded network compute in `dtype`, whatever its weights are stored in, with FP32 in and out."""
    compute = getattr(torch, dtype)
    for module in list(network.modules()):
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            # Tiny, and diffusers' VAE asks the first of them which dtype to compute in.
            module.to(compute)
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_floating_point() and parameter.dtype != compute:
                parametrize.register_parametrization(module, name, _Cast(compute), unsafe=True)
    if component == "text_encoder":
        _announce_float32(network)
    if compute != torch.float32:
        _meet_in_float32(network, component, compute)


class _Cast(nn.Module):
    """Reads a stored weight as another dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        return stored.to(self.dtype)


def _announce_float32(text_encoder: nn.Module) -> None:
    """Let `text_encoder.dtype`, to which diffusers casts the prompt embeddings, say FP32, as they leave it."""
    kind = type(text_encoder)
    text_encoder.__class__ = type(kind.__name__, (kind,), {"dtype": torch.float32, "__module__": kind.__module__})


def _meet_in_float32(network: nn.Module, component: str, compute: torch.dtype) -> None:
    """Cast what enters a network to `compute` and what leaves it to FP32."""
    if component == "vae":
        # the pipeline calls `decode`, not `forward`
        parts = (network.encoder, network.quant_conv, network.post_quant_conv, network.decoder)
        entries = exits = [part for part in parts if part is not None]
    elif component == "safety_checker":
        # its `forward` also passes the images through, which must stay as they are
        entries, exits = [network.vision_model], []
    else:
        entries = exits = [network]
    for module in entries:
        module.register_forward_pre_hook(
            lambda _, args, kwargs: (_cast(args, compute), _cast(kwargs, compute)), with_kwargs=True
        )
    for module in exits:
        module.register_forward_hook(lambda _, args, output: _cast(output, torch.float32))


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors inside `value`; a scheduler's timestep (no or one dimension) stays exact."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() and value.ndim > 1 else value
    if isinstance(value, tuple | list):
        return type(value)(_cast(item, dtype) for item in value)
    if isinstance(value, dict):
        return type(value)(**{key: _cast(item, dtype) for key, item in value.items()})
    return value
