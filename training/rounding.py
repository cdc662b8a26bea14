"""The instrument's rounding with gradients: the same numbers, and rounding passes a gradient on as if it did nothing.

Straight-through estimation (Bengio et al., arXiv:1308.3432). Scales are computed from what is rounded, so that
gradients pass through them as well: a weight or an activation that alone stretches a scale learns what it costs.
"""

from typing import Any

import torch

from stages.lib.formats.shared.quantization import integer_range


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return torch.round(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def rounded_weight(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """A weight (out channels, ...), FP32, rounded symmetrically with one scale an output channel."""
    lowest, highest = integer_range(bits)
    scale = _positive(weight.flatten(1).abs().amax(1) / highest).reshape(-1, *[1] * (weight.ndim - 1))
    return _Straight.apply(weight / scale).clamp(lowest, highest) * scale


def rounded_activation(values: torch.Tensor, bits: int) -> torch.Tensor:
    """A tensor of any shape, FP32, rounded with one scale over its own range, widened to contain zero.

    The pipeline's range is that of its calibration, which this one stands for.
    """
    values = values.float()
    lowest, highest = integer_range(bits)
    low, high = values.amin().clamp(max=0), values.amax().clamp(min=0)
    scale = _positive((high - low) / (highest - lowest))
    zero_point = (lowest - torch.round(low / scale)).clamp(lowest, highest).detach()
    return ((_Straight.apply(values / scale) + zero_point).clamp(lowest, highest) - zero_point) * scale


def _positive(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))
