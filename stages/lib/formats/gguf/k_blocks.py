"""Q4_K and Q5_K, which the package gguf unpacks but cannot make.

A block of 256 weights has eight groups of 32: x = d * scale * q - dmin * least, with q of four or five bits, scale and
least of six, d and dmin in FP16 (llama.cpp, ggml-quants.c). Scale and minimum of a group are found as there
(make_qkx2_quants): for several ranges the weights are rounded, and the line through the rounded ones is fitted by
weighted least squares; the best one is kept.
"""

import torch

BITS = {"q4_k": 4, "q5_k": 5}
# Ranges that are tried, as what is added to the largest integer: those of llama.cpp.
TRIED = {4: [-1 + 0.1 * step for step in range(21)], 5: [-0.5 + 0.1 * step for step in range(16)]}
LEVELS = 63  # of six bits


def quantize_k(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Blocks (out, bytes of a row), uint8, of an FP32 weight (out, in) whose rows are multiples of 256."""
    groups = weight.float().reshape(-1, 8, 32)
    scale, least = fit(groups, bits)
    d, scale = _in_six_bits(scale)
    dmin, least = _in_six_bits(least)
    step = (d.float() * scale)[..., None]
    raised = groups + (dmin.float() * least)[..., None]
    codes = torch.where(step > 0, raised / step, 0).round().clamp(0, 2**bits - 1).to(torch.uint8)
    parts = [d.view(torch.uint8), dmin.view(torch.uint8), _packed_scales(scale, least)]
    if bits == 5:
        high = (codes >> 4) << torch.arange(8, dtype=torch.uint8)[:, None]
        parts.append(high.sum(1, dtype=torch.uint8))
    low = codes & 15
    parts.append((low[:, 0::2] | low[:, 1::2] << 4).flatten(1))
    return torch.cat(parts, 1).reshape(len(weight), -1)


def fit(groups: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and least, neither negative, with x near scale * q - least: both (...,) of `groups` (..., 32)."""
    most = 2**bits - 1
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1)
    extent = (high - low).clamp(min=1e-30)
    importance = groups.square().mean(-1, keepdim=True).sqrt() + groups.abs()
    scale, least = extent / most, -low
    error = _error(groups, importance, scale, least, most)
    for added in TRIED[bits]:
        codes = ((groups - low[..., None]) * ((most + added) / extent)[..., None]).round().clamp(0, most)
        total, ones, squares = (importance.sum(-1), (importance * codes).sum(-1), (importance * codes**2).sum(-1))
        values, products = (importance * groups).sum(-1), (importance * codes * groups).sum(-1)
        determinant = total * squares - ones**2
        solvable = determinant > 0
        safe = torch.where(solvable, determinant, 1)
        slope = (total * products - values * ones) / safe
        start = (squares * values - ones * products) / safe
        above = start > 0
        slope = torch.where(above, products / squares.clamp(min=1e-30), slope)
        start = torch.where(above, 0, start)
        tried = _error(groups, importance, slope, -start, most)
        better = solvable & (slope > 0) & (tried < error)
        scale, least = torch.where(better, slope, scale), torch.where(better, -start, least)
        error = torch.where(better, tried, error)
    return scale, least


def _error(
    groups: torch.Tensor, importance: torch.Tensor, scale: torch.Tensor, least: torch.Tensor, most: int
) -> torch.Tensor:
    step, shift = scale[..., None].clamp(min=1e-30), least[..., None]
    codes = ((groups + shift) / step).round().clamp(0, most)
    return (importance * (codes * step - shift - groups).square()).sum(-1)


def _in_six_bits(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale in FP16 (blocks, 1), and whole numbers (blocks, 8), as FP32, whose products with it are near `values`."""
    unit = (values.amax(1, keepdim=True) / LEVELS).half()
    return unit, torch.where(unit > 0, values / unit.float(), 0).round().clamp(0, LEVELS)


def _packed_scales(scale: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """Eight scales and eight minima of six bits in twelve bytes, in the order of the format."""
    scale, least = scale.to(torch.uint8), least.to(torch.uint8)
    first = [part[:, :4] | part[:, 4:] >> 4 << 6 for part in (scale, least)]
    return torch.cat([*first, scale[:, 4:] & 15 | (least[:, 4:] & 15) << 4], 1)
