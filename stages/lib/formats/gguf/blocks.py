"""Blocks of GGUF: which type a row takes, and packing and unpacking them."""

import torch
from diffusers.quantizers.gguf.utils import dequantize_functions
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quantize
from torch import nn

from stages.lib.formats.gguf.k_blocks import BITS, quantize_k

# What llama.cpp's own tool takes instead where a row is no multiple of a block.
INSTEAD = {"q4_k": "q5_0", "q5_k": "q5_1"}


def ggml_type(kind: str) -> GGMLQuantizationType:
    """GGUF's own name of a type."""
    return GGMLQuantizationType[kind.upper()]


def block_type(kind: str, width: int) -> str | None:
    """The type that rows of `width` weights take where `kind` is asked for; None where they cannot be in blocks."""
    types = (kind, INSTEAD[kind]) if kind in INSTEAD else (kind,)
    return next((name for name in types if width % GGML_QUANT_SIZES[ggml_type(name)][0] == 0), None)


def pack(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """The blocks (out, bytes of a row), uint8, of an FP32 weight (out, in)."""
    if kind in BITS:
        return quantize_k(weight, BITS[kind])
    return torch.from_numpy(quantize(weight.numpy(), ggml_type(kind)))


class Unpacked(nn.Module):
    """Reads blocks (out, bytes of a row) as a weight (out, in), unpacked in FP32, in `dtype`."""

    def __init__(self, kind: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.kind, self.dtype = ggml_type(kind), dtype

    def forward(self, blocks: torch.Tensor) -> torch.Tensor:
        """The weight."""
        length, stored = GGML_QUANT_SIZES[self.kind]
        weight = dequantize_functions[self.kind](blocks.reshape(-1, stored), length, stored, dtype=torch.float32)
        return weight.reshape(len(blocks), -1).to(self.dtype)
