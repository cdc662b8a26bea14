"""Counting PyTorch's multiplications: known answers, the dtype that really multiplies, and PyTorch's own counter."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.formats.torch_dynamic.backend import quantize_linears
from stages.lib.models.watch import Watch
from stages.lib.timing.work_counter import WorkCounter
from tests.reference import reference_pipeline


def counted(network: nn.Module, *inputs: torch.Tensor) -> dict[tuple[str, str], ExecutedWork]:
    """The work of one call of `network`, as if it were a U-Net, by operator and dtype."""
    pipeline = SimpleNamespace(unet=network, config={"unet": None})
    counter = WorkCounter()
    with counter.watching(pipeline), torch.no_grad():
        pipeline.unet(*inputs)
        pipeline.unet(*inputs)
    return {(row.operator, row.dtype): row for row in counter.rows()}


def work(rows: dict) -> dict[tuple[str, str], tuple[int, int]]:
    return {key: (row.layers, row.multiply_accumulates) for key, row in rows.items()}


def test_a_convolution_has_outputs_times_weights_of_a_channel():
    """2 images x 8 channels x 5 x 5 outputs, each a sum of 4 / 2 groups x 3 x 3 products; per call, not in all."""
    network = nn.Conv2d(4, 8, 3, padding=1, groups=2)
    rows = counted(network, torch.ones(2, 4, 5, 5))
    assert work(rows) == {("Conv2d", "float32"): (1, 2 * 8 * 25 * 2 * 9)}
    assert rows["Conv2d", "float32"].time_s > 0 and type(network) is nn.Conv2d


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_linear_layer_has_rows_times_inputs_times_outputs(bias, dtype):
    """Whether addmm or mm, whatever the dtype."""
    inputs = torch.ones(2, 3, 16, dtype=getattr(torch, dtype))
    rows = counted(nn.Linear(16, 5, bias=bias).to(inputs.dtype), inputs)
    assert work(rows) == {("Linear", dtype): (1, 6 * 16 * 5)}


def test_a_linear_layer_of_a_turned_input_is_no_attention():
    """PyTorch makes a batched product of it, as in the attention of a VAE: it is the weight that tells."""
    rows = counted(nn.Linear(16, 5), torch.ones(1, 16, 7).transpose(1, 2))
    assert work(rows) == {("Linear", "float32"): (1, 7 * 16 * 5)}


class Attention(nn.Module):
    """Scaled dot product attention, fused by PyTorch or written out."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        if self.fused:
            return nn.functional.scaled_dot_product_attention(query, key, key)
        return (query @ key.transpose(-1, -2)).softmax(-1) @ key


@pytest.mark.parametrize("fused", [True, False])
def test_attention_has_two_products(fused):
    """2 images x 4 heads x 6 queries x 10 keys x 8 channels, twice."""
    rows = counted(Attention(fused), torch.ones(2, 4, 6, 8), torch.ones(2, 4, 10, 8))
    assert work(rows) == {("MatMul", "float32"): (2, 2 * 2 * 4 * 6 * 10 * 8)}


def test_dynamic_quantization_leaves_convolutions_in_fp32():
    """INT8 in a tiny network is its linear layer: 96 rows x 6 x 10 products, beside 16 x 36 x 9 of the convolution."""
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Flatten(0, 2), nn.Linear(6, 10)).eval().requires_grad_(False)
    quantize_linears(network, "tensor")
    rows = counted(network, torch.ones(1, 1, 8, 6 + 2))
    assert work(rows) == {("Conv2d", "float32"): (1, 16 * 36 * 9), ("Linear", "int8"): (1, 96 * 6 * 10)}


def test_integers_that_pytorch_multiplies_are_int8():
    """What torchao's kernels call on a CPU and a GPU."""

    class Product(nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return torch._int_mm(first, second)

    rows = counted(Product(), torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8))
    assert work(rows) == {("Linear", "int8"): (1, 32 * 16 * 8)}


def test_a_product_without_a_formula_is_an_error():
    """Protects the accounting from work that silently goes uncounted."""

    class Vector(nn.Module):
        def forward(self, matrix: torch.Tensor) -> torch.Tensor:
            return torch.mv(matrix, matrix[0])

    with pytest.raises(ValueError, match="aten::(add)?mv may multiply matrices"):
        counted(Vector(), torch.ones(3, 3))


def test_a_compiled_network_is_counted_as_it_runs_uncompiled():
    """Compiled kernels dispatch nothing: their layers would vanish from the accounting."""
    network = nn.Linear(16, 5)
    network.forward = torch.compile(network.forward, backend="eager")
    assert work(counted(network, torch.ones(3, 16))) == {("Linear", "float32"): (1, 3 * 16 * 5)}


def test_layers_that_a_pipeline_calls_one_by_one_are_one_call_of_their_network():
    """Protects the work and the time of a text encoder whose own forward is never called, and those that are called."""
    network = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), nn.Linear(8, 4))
    pipeline, given = (
        SimpleNamespace(reader=network, other=nn.Linear(4, 4), config=["reader", "other"]),
        torch.ones(3, 8),
    )
    counter, watch = WorkCounter(), Watch(keep=True)
    with counter.watching(pipeline), watch.watching(pipeline), torch.no_grad():
        for _ in range(2):
            answer = given
            for layer in network:
                answer = layer(answer)
        pipeline.other(answer)
        network[2](given)  # a call of its own: another network was called before
    rows = {row.component: row for row in counter.rows()}
    assert (rows["reader"].layers, rows["reader"].multiply_accumulates) == (4, 3 * (3 * 64 + 32))
    assert [seen.number for seen in watch.calls["reader"]] == [0, 0, 0, 1, 1, 1, 2]
    assert [seen.call.entry for seen in watch.calls["reader"]][:3] == ["0", "1", "2"]
    assert not any("forward" in vars(layer) for layer in network.modules())
    with counter.watching(pipeline), torch.no_grad():
        network(given)
        assert not any("forward" in vars(layer) for layer in network.modules())  # as compiled code has seen them


def test_a_whole_pipeline_agrees_with_pytorch_s_own_counter(tiny_model):
    """In FP32, half of PyTorch's floating-point operations; it has no formula for fused attention on a CPU."""
    pipeline, counter = reference_pipeline(tiny_model), WorkCounter()
    options = {"num_inference_steps": 2, "output_type": "pt"}
    with counter.watching(pipeline):
        pipeline("a cat", **options)
    rows = counter.rows()
    with FlopCounterMode(display=False) as flops:
        pipeline("a cat", **options)
    calls = {"text_encoder": 2, "unet": 3, "vae": 1, "safety_checker": 1}
    total = sum(row.multiply_accumulates * calls[row.component] for row in rows if row.operator != "MatMul")
    others = {
        str(key): value for key, value in flops.get_flop_counts()["Global"].items() if "attention" not in str(key)
    }
    assert total == sum(others.values()) / 2
    assert {row.component for row in rows if row.operator == "MatMul"} == set(calls)
    assert {row.dtype for row in rows} == {"float32"}
