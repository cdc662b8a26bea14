"""Back end `bitsandbytes`: its layers give what the stored codes say, in the arithmetic that was asked for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from stages.lib.formats.shared.linears import free_linears
from stages.lib.models.watch import around_calls
from stages.lib.timing.work_counter import WorkCounter
from tests.conftest import PROJECT

layers = pytest.importorskip("stages.lib.formats.bitsandbytes.layers", exc_type=ImportError)
built, packed = layers.built, layers.packed

WIDTHS = [(64, 32), (128, 96), (32, 32), (96, 64), (48, 33)]


def layer_of(kind: str, widths: tuple[int, int], compute: torch.dtype) -> tuple[nn.Linear, nn.Linear, torch.Tensor]:
    """A Linear layer, bitsandbytes' in its place, and the weight that the latter stands for by the published code."""
    torch.manual_seed(0)
    linear = nn.Linear(*widths, dtype=compute).eval().requires_grad_(False)
    stored, scale = packed("weight", linear.weight, kind, Path("model")).values()
    if kind == "int8":
        exact = stored.float() * scale[:, None] / 127
    else:
        code = layers.get_4bit_type(kind, device="cpu")
        codes = torch.stack([stored.flatten() >> 4, stored.flatten() & 15], 1).flatten().long()
        exact = (code[codes] * scale.repeat_interleave(64)[: codes.numel()]).reshape(linear.weight.shape)
    return linear, built(linear, stored, scale, kind, compute).eval(), exact


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_a_layer_multiplies_by_what_its_codes_stand_for(kind, widths):
    """Protects from bitsandbytes' kernel for CPUs, which is wrong where a block reaches over a row."""
    linear, layer, exact = layer_of(kind, widths, torch.float32)
    values = torch.randn(2, 3, 5, widths[0])  # of four dimensions, which LLM.int8's own product does not take
    expected = values @ exact.T + linear.bias
    error = (layer(values) - expected).norm() / expected.norm()
    assert error < (0.02 if kind == "int8" else 1e-5)
    assert 1e-3 < (exact - linear.weight).norm() / linear.weight.norm() < {"int8": 0.01, "nf4": 0.1, "fp4": 0.14}[kind]


def test_the_fused_product_of_a_cpu_is_near_the_other_one():
    """In BF16 a processor with AVX512_BF16 multiplies packed codes: as exact as BF16 is."""
    linear, layer, exact = layer_of("nf4", (128, 96), torch.bfloat16)
    values = torch.randn(7, 128, dtype=torch.bfloat16)
    expected = values.float() @ exact.T + linear.bias.float()
    assert (layer(values).float() - expected).norm() / expected.norm() < 0.01


def test_columns_of_outliers_are_multiplied_in_floating_point():
    """What makes it LLM.int8: one huge activation does not coarsen those beside it."""
    linear, layer, exact = layer_of("int8", (64, 32), torch.float32)
    values = torch.randn(20, 64)
    values[:, 3] *= 1000
    expected = values @ exact.T + linear.bias
    small = expected - values[:, 3:4] * exact[:, 3]
    assert (layer(values) - expected).norm() / small.norm() < 0.02


@pytest.mark.parametrize(("kind", "dtype"), [("nf4", "bfloat16"), ("int8", "int8")])
def test_every_product_is_counted_in_the_dtype_it_is_executed_in(kind, dtype):
    _, layer, _ = layer_of(kind, (64, 32), torch.bfloat16)
    counter = WorkCounter()
    with torch.no_grad(), around_calls({"layer": layer}, counter.announced), counter:
        layer(torch.randn(20, 64, dtype=torch.bfloat16))
    assert [(row.dtype, row.multiply_accumulates) for row in counter.rows()] == [(dtype, 20 * 64 * 32)]


def test_layers_that_share_a_weight_or_need_fp32_are_left_alone():
    """Protects T5, whose activations overflow in one layer, and a model that reads and writes words with one table."""
    network = nn.ModuleDict({"a": nn.Linear(4, 4), "wo": nn.Linear(4, 4), "head": nn.Linear(4, 9)})
    network["words"] = nn.Embedding(9, 4)
    network["words"].weight = network["head"].weight
    network._keep_in_fp32_modules = ["wo"]
    assert free_linears(network) == ["a"]


def test_a_process_that_does_not_need_the_library_is_spared_its_import():
    command = "import stages, sys; from diffusers import UNet2DConditionModel; print(sys.modules['bitsandbytes'])"
    found = subprocess.run([sys.executable, "-c", command], cwd=PROJECT, capture_output=True, text=True)
    assert found.stdout == "None\n"
