"""Rounding numbers to integers of a few bits and back: the arithmetic of quantization, and nothing else.

Affine quantization after Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018. What shares one scale (the granularity):

- tensor: the whole weight; the scale is a scalar.
- channel: one output channel, the weight's first dimension; scales are (out channels,).
- group: `group_size` consecutive input elements of one output channel, in the order of the weight flattened after its
  first dimension; the last group of a channel is shorter where the size does not divide. Scales are (out channels,
  groups), groups = ceil(elements of a channel / group_size).
"""

from typing import Literal

import torch
from torch.nn.functional import pad

Granularity = Literal["tensor", "channel", "group"]


def integer_range(bits: int) -> tuple[int, int]:
    """The least and the greatest signed integer of `bits` bits (2 to 8): -128 and 127 for 8."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8 to fit an int8 tensor, not {bits}")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def symmetric_scale(
    weight: torch.Tensor, bits: int, granularity: Granularity, group_size: int | None = None
) -> torch.Tensor:
    """The step between neighbouring integers, FP32, so that the largest magnitude meets the largest integer.

    `weight` is (out channels, ...). The result is a scalar for "tensor", (out channels,) for "channel" and (out
    channels, groups) for "group". What is zero throughout has the scale 1.
    """
    if granularity not in ("tensor", "channel", "group"):
        raise ValueError(f"granularity must be 'tensor', 'channel' or 'group', not {granularity!r}")
    if (group_size is None) == (granularity == "group"):
        raise ValueError(f"group_size {group_size} does not go with granularity '{granularity}'")
    magnitude = weight.detach().float().abs()
    if granularity == "tensor":
        peak = magnitude.amax()
    elif granularity == "channel":
        peak = magnitude.flatten(1).amax(dim=1)
    else:
        channels = magnitude.flatten(1)
        filled = pad(channels, (0, -channels.shape[1] % group_size))
        peak = filled.unflatten(1, (-1, group_size)).amax(dim=2)
    return _positive(peak / integer_range(bits)[1])


def affine_parameters(least: float, greatest: float, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale (FP32) and zero point (int8), both scalars, for numbers of `least` to `greatest`.

    The range is widened to contain 0, which q = zero point then stands for exactly, and is spread over all 2^bits
    integers (asymmetric). Inside it the error is at most half a step. An empty range at 0 has the scale 1.
    """
    if not least <= greatest:
        raise ValueError(f"the range must begin before it ends, not {least} to {greatest}")
    lowest, highest = integer_range(bits)
    low, high = min(least, 0.0), max(greatest, 0.0)
    scale = _positive(torch.tensor((high - low) / (highest - lowest), dtype=torch.float32))
    zero_point = torch.clamp(lowest - torch.round(torch.tensor(low) / scale), lowest, highest)
    return scale, zero_point.to(torch.int8)


def quantize(
    values: torch.Tensor,
    scale: torch.Tensor,
    zero_point: torch.Tensor,
    bits: int = 8,
    group_size: int | None = None,
) -> torch.Tensor:
    """q = clamp(round(x / scale) + zero_point, least, greatest), int8, of the shape of `values`.

    Jacob et al., equation 1. `scale` and `zero_point` are scalars, (out channels,), or (out channels, groups) together
    with `group_size`. Halves round to even.
    """
    scale, zero_point = _along(scale, values, group_size), _along(zero_point, values, group_size)
    return _integers(values, scale, zero_point, bits).to(torch.int8)


def dequantize(
    integers: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, group_size: int | None = None
) -> torch.Tensor:
    """x' = (q - zero_point) * scale, FP32. Inside the range |x - x'| is at most scale / 2."""
    scale, zero_point = _along(scale, integers, group_size), _along(zero_point, integers, group_size)
    return (integers.float() - zero_point) * scale


def quantize_weight(
    weight: torch.Tensor, bits: int = 8, granularity: Granularity = "channel", group_size: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Symmetric quantization of a weight (out channels, ...): integers (int8), scale (FP32), zero point (int8, 0).

    Symmetric because weights centre on zero and integer kernels then need no correction term.
    """
    scale = symmetric_scale(weight, bits, granularity, group_size)
    zero_point = torch.zeros_like(scale, dtype=torch.int8)
    return quantize(weight, scale, zero_point, bits, group_size), scale, zero_point


def fake_quantize(values: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bits: int) -> torch.Tensor:
    """`values` rounded to integers of `bits` bits and back, in FP32, returned in their own dtype.

    `scale` and `zero_point` are scalars on the device of `values`. What lies outside the range becomes its end; a NaN
    stays one.
    """
    integers = _integers(values, scale, zero_point, bits)
    return ((integers - zero_point) * scale).to(values.dtype)


def _integers(values: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bits: int) -> torch.Tensor:
    """Whole numbers in FP32."""
    return torch.clamp(torch.round(values.detach().float() / scale) + zero_point, *integer_range(bits))


def _positive(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _along(value: torch.Tensor, like: torch.Tensor, group_size: int | None) -> torch.Tensor:
    """Shape a scalar, a (channels,) or a (channels, groups) tensor so that it broadcasts over `like`."""
    if value.ndim == 2:
        return value.repeat_interleave(group_size, dim=1)[:, : like[0].numel()].reshape(like.shape)
    return value if value.ndim == 0 else value.reshape(-1, *[1] * (like.ndim - 1))
