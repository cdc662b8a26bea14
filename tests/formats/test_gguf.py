"""Back end `gguf`: blocks that the package gguf reads, and as exact as the format allows."""

import pytest
import torch

gguf = pytest.importorskip("gguf")
from stages.lib.formats.gguf import blocks  # noqa: E402 - needs the package
from stages.lib.formats.gguf.k_blocks import quantize_k  # noqa: E402

# Root mean square of the error, in standard deviations of a normal weight; llama.cpp's own blocks are no better.
ERRORS = {"q8_0": 0.007, "q5_k": 0.04, "q5_1": 0.05, "q5_0": 0.05, "q4_k": 0.08, "q4_0": 0.1}


def weight_of(rows: int = 48) -> torch.Tensor:
    return torch.randn(rows, 512, generator=torch.Generator().manual_seed(3))


def read(stored: torch.Tensor, kind: str) -> torch.Tensor:
    """What the package reads in blocks."""
    return torch.from_numpy(gguf.dequantize(stored.numpy(), blocks.ggml_type(kind)))


@pytest.mark.parametrize("kind", ERRORS)
def test_the_package_reads_what_is_stored_and_a_layer_reads_the_same(kind):
    """Protects from blocks that only this project understands."""
    weight = weight_of()
    stored = blocks.pack(weight, kind)
    length, size = gguf.GGML_QUANT_SIZES[blocks.ggml_type(kind)]
    assert stored.dtype == torch.uint8 and stored.shape == (48, 512 // length * size)
    assert torch.equal(blocks.Unpacked(kind, torch.float32)(stored), read(stored, kind))
    error = (read(stored, kind) - weight).square().mean().sqrt()
    assert ERRORS[kind] / 2 < error < ERRORS[kind]


def rounded_between_extremes(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The plain way: each 32 weights between their least, or 0, and their largest, with exact scales."""
    groups = weight.reshape(-1, 32)
    low, high = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    return (((groups - low) / step).round() * step + low).reshape(weight.shape)


@pytest.mark.parametrize(("kind", "bits"), [("q4_k", 4), ("q5_k", 5)])
@pytest.mark.parametrize("shape", ["normal", "heavy", "shifted"])
def test_our_blocks_are_no_worse_than_plain_rounding(kind, bits, shape):
    """Protects the search: it must earn back what scales of six bits cost."""
    weight = weight_of()
    weight = {"normal": weight, "heavy": weight**3, "shifted": weight + 1}[shape]
    error, plain = (
        (found - weight).square().mean().item()
        for found in (read(quantize_k(weight, bits), kind), rounded_between_extremes(weight, bits))
    )
    assert error < plain * (1.1 if bits == 5 else 1)


@pytest.mark.parametrize("kind", ["q4_k", "q5_k"])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_weight_stays_what_it_is(kind, value):
    """Known answers at the edges: no range at all, nothing to divide by."""
    weight = torch.full((2, 256), value)
    assert torch.allclose(read(blocks.pack(weight, kind), kind), weight, rtol=1e-3)


def test_rows_that_fit_no_block_of_256_take_what_llama_cpp_takes():
    assert [blocks.block_type(kind, 96) for kind in ("q8_0", "q4_0", "q4_k", "q5_k")] == [
        "q8_0",
        "q4_0",
        "q5_0",
        "q5_1",
    ]
    assert [blocks.block_type(kind, 512) for kind in ("q4_k", "q5_k")] == ["q4_k", "q5_k"]
    assert [blocks.block_type(kind, 48) for kind in ("q8_0", "q4_k")] == [None, None]
