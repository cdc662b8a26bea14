"""The arithmetic of rounding weights to integers."""

import pytest
import torch

from stages.lib.quantization import dequantize, integer_range, quantize, quantize_weight

SHAPES = [(6, 5), (6, 3, 3, 3)]


def _weight(shape: tuple[int, ...]) -> torch.Tensor:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return weight * torch.logspace(-3, 2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_error_is_at_most_half_a_step(shape, bits, granularity):
    """The bound that every table of this project rests on."""
    weight = _weight(shape)
    integers, scale, zero_point = quantize_weight(weight, bits, granularity)
    step = scale if scale.ndim == 0 else scale.reshape(-1, *[1] * (len(shape) - 1))
    error = (dequantize(integers, scale, zero_point) - weight).abs()
    assert (error <= step / 2 * (1 + 1e-5)).all()
    assert error.max() > 0
    least, greatest = integer_range(bits)
    assert integers.dtype == torch.int8 and integers.min() >= least and integers.max() <= greatest


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_twice_is_rounding_once(shape, granularity):
    """Idempotence: the integers of a rounded weight are the same integers."""
    integers, scale, zero_point = quantize_weight(_weight(shape), 8, granularity)
    again, _, _ = quantize_weight(dequantize(integers, scale, zero_point), 8, granularity)
    assert torch.equal(again, integers)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_zeros_and_constants_are_exact(granularity):
    """Nothing divides by zero, and a value that is the peak itself loses nothing but FP32 rounding."""
    zeros = torch.zeros(3, 4)
    assert torch.equal(dequantize(*quantize_weight(zeros, 8, granularity)), zeros)
    constant = torch.full((3, 4), -0.3)
    torch.testing.assert_close(dequantize(*quantize_weight(constant, 8, granularity)), constant, rtol=2e-7, atol=0)


def test_a_channel_has_a_scale_of_its_own():
    """Per channel, a large channel does not cost a small one its digits; per tensor, it does."""
    weight = torch.tensor([[100.0, -50.0], [0.01, 0.004]])
    torch.testing.assert_close(dequantize(*quantize_weight(weight, 8, "channel"))[1], weight[1], rtol=0.02, atol=0)
    assert torch.equal(dequantize(*quantize_weight(weight, 8, "tensor"))[1], torch.zeros(2))


def test_the_affine_law_by_hand():
    """q = clamp(round(x / s) + z), x' = (q - z) s, with halves to even and both ends clamped."""
    scale, zero_point = torch.tensor(0.5), torch.tensor(10)
    values = torch.tensor([0.0, 0.25, 0.75, -1.0, 1000.0, -1000.0])
    integers = quantize(values, scale, zero_point)
    assert integers.tolist() == [10, 10, 12, 8, 127, -128]
    assert dequantize(integers, scale, zero_point).tolist() == [0.0, 0.0, 1.0, -1.0, 58.5, -69.0]


def test_what_cannot_be_done_is_refused():
    """A ninth bit would not fit the tensor, and a misspelt granularity must not become another one."""
    with pytest.raises(ValueError, match="2 to 8"):
        quantize_weight(torch.ones(2, 2), 9)
    with pytest.raises(ValueError, match="granularity"):
        quantize_weight(torch.ones(2, 2), 8, "row")
