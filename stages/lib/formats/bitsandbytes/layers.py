"""Weights as bitsandbytes quantizes them, and its layers around what was stored of them."""

import sys
from pathlib import Path

import torch
from torch import nn

from stages.lib.formats.bitsandbytes.options import BLOCK
from stages.lib.formats.shared.casting import cast_state

if sys.modules.get("bitsandbytes", sys) is None:  # kept out by stages/__init__.py
    del sys.modules["bitsandbytes"]
from bitsandbytes.functional import QuantState, get_4bit_type, int8_vectorwise_quant, quantize_4bit  # noqa: E402
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit  # noqa: E402

# Beyond it an activation is multiplied in floating point: the paper's value, and the libraries' default.
OUTLIER_THRESHOLD = 6.0
FUSED_ROWS = 32  # the fused product of a CPU takes multiples of so many output channels, and of blocks


def packed(name: str, weight: torch.Tensor, kind: str, source: Path) -> dict[str, torch.Tensor]:
    """The weight `name` (out, in) as it is stored: integers or codes, and beside them `name`_scale.

    nf4, fp4: codes (out * in / 2, 1), uint8, and the largest magnitude of each block (blocks,), FP32. int8: integers
    (out, in) and the largest magnitude of each row (out,), FP32, of the weight in FP16; `source` is named where that
    overflows.
    """
    if kind == "int8":
        integers, scale, _ = int8_vectorwise_quant(cast_state({name: weight}, "float16", source)[name])
        return {name: integers, f"{name}_scale": scale}
    codes, state = quantize_4bit(weight.contiguous(), blocksize=BLOCK, quant_type=kind, compress_statistics=False)
    return {name: codes, f"{name}_scale": state.absmax}


def built(linear: nn.Linear, weight: torch.Tensor, scale: torch.Tensor, kind: str, compute: torch.dtype) -> nn.Linear:
    """bitsandbytes' layer in place of `linear`, around what `packed` made, on the device of that."""
    layer = (_integer if kind == "int8" else _four_bit)(linear, weight, scale, kind, compute)
    layer.bias = linear.bias
    return layer


def _integer(
    linear: nn.Linear, weight: torch.Tensor, scale: torch.Tensor, _: str, compute: torch.dtype
) -> "IntegerLinear":
    widths = linear.in_features, linear.out_features
    layer = IntegerLinear(*widths, has_fp16_weights=False, threshold=OUTLIER_THRESHOLD, device="meta")
    layer.compute_dtype = compute
    layer.weight = Int8Params(weight, requires_grad=False, CB=weight, SCB=scale)
    return layer


def _four_bit(
    linear: nn.Linear, weight: torch.Tensor, scale: torch.Tensor, kind: str, compute: torch.dtype
) -> "FourBitLinear":
    widths = linear.in_features, linear.out_features
    layer = FourBitLinear(*widths, compute_dtype=compute, compress_statistics=False, quant_type=kind, device="meta")
    layer.quant_state = QuantState(
        absmax=scale,
        shape=torch.Size(reversed(widths)),
        code=get_4bit_type(kind, device=weight.device),
        blocksize=BLOCK,
        quant_type=kind,
        dtype=compute,
    )
    layer.weight = Params4bit(
        weight,
        requires_grad=False,
        quant_state=layer.quant_state,
        compress_statistics=False,
        quant_type=kind,
        module=layer,
        bnb_quantized=True,
    )
    # It would fail where widths do not fit, and multiply in BF16 whatever was asked for.
    fits = linear.out_features % FUSED_ROWS == linear.in_features % BLOCK == 0
    layer.support_avx512bf16_for_cpu &= fits and compute == torch.bfloat16
    return layer


class FourBitLinear(Linear4bit):
    """bitsandbytes' layer, which says what it holds besides its parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """bitsandbytes' answer; the same where its kernel for CPUs (0.50.2) mixes up blocks that reach over a row."""
        x = x.as_subclass(torch.Tensor).to(self.compute_dtype)
        if x.device.type != "cpu" or self.in_features % BLOCK == 0:
            return super().forward(x)
        state, flat = self.weight.quant_state, (1, self.in_features * self.out_features)
        unpack = torch.ops.bitsandbytes.dequantize_4bit
        weight = unpack(self.weight.data, state.absmax, BLOCK, state.quant_type, flat, x.dtype)
        return nn.functional.linear(x, weight.reshape(state.shape), self.bias)

    def constant_bytes(self) -> int:
        """Bytes of the magnitudes."""
        return self.weight.quant_state.absmax.nbytes


class IntegerLinear(Linear8bitLt):
    """The same for INT8, whose product takes matrices alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        rows = x.as_subclass(torch.Tensor).to(self.compute_dtype).reshape(-1, self.in_features)
        return super().forward(rows).reshape(*x.shape[:-1], self.out_features)

    def constant_bytes(self) -> int:
        """Bytes of the magnitudes, which the first call moves."""
        scale = self.state.SCB if self.weight.SCB is None else self.weight.SCB
        return scale.nbytes
