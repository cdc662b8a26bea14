"""Rounding a weight to signed integers and back: the arithmetic of quantization, and nothing else."""

from typing import Literal

import torch

Granularity = Literal["tensor", "channel"]


def integer_range(bits: int) -> tuple[int, int]:
    """The least and the greatest signed integer of `bits` bits (2 to 8): -128 and 127 for 8."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8 to fit an int8 tensor, not {bits}")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def symmetric_scale(weight: torch.Tensor, bits: int, granularity: Granularity) -> torch.Tensor:
    """The step between neighbouring integers, FP32, so that the largest magnitude meets the largest integer.

    `weight` is (out channels, ...). The result is a scalar for "tensor", and (out channels,) for "channel".
    A weight, or a channel, that is zero throughout has the scale 1.
    """
    if granularity not in ("tensor", "channel"):
        raise ValueError(f"granularity must be 'tensor' or 'channel', not {granularity!r}")
    magnitude = weight.detach().float().abs()
    peak = magnitude.amax() if granularity == "tensor" else magnitude.flatten(1).amax(dim=1)
    scale = peak / integer_range(bits)[1]
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def quantize(weight: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """q = clamp(round(x / scale) + zero_point, least, greatest), int8, of the shape of `weight`.

    Affine quantization after Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, equation 1. `scale` and `zero_point` are scalars or
    (out channels,). Halves round to even.
    """
    least, greatest = integer_range(bits)
    scale, zero_point = _along_channels(scale, weight), _along_channels(zero_point, weight)
    steps = torch.round(weight.detach().float() / scale) + zero_point
    return torch.clamp(steps, least, greatest).to(torch.int8)


def dequantize(integers: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor) -> torch.Tensor:
    """x' = (q - zero_point) * scale, FP32. Inside the range |x - x'| is at most scale / 2."""
    scale, zero_point = _along_channels(scale, integers), _along_channels(zero_point, integers)
    return (integers.float() - zero_point) * scale


def quantize_weight(
    weight: torch.Tensor, bits: int = 8, granularity: Granularity = "channel"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Symmetric quantization of a weight (out channels, ...): integers (int8), scale (FP32), zero point (int8, 0).

    Symmetric because weights centre on zero and integer kernels then need no correction term.
    """
    scale = symmetric_scale(weight, bits, granularity)
    zero_point = torch.zeros_like(scale, dtype=torch.int8)
    return quantize(weight, scale, zero_point, bits), scale, zero_point


def _along_channels(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Shape a scalar or a (channels,) tensor so that it broadcasts over the first dimension of `like`."""
    return value if value.ndim == 0 else value.reshape(-1, *[1] * (like.ndim - 1))
