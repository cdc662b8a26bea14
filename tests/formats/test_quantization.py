"""The arithmetic of rounding weights and activations to integers."""

import pytest
import torch

from stages.lib.formats.shared.quantization import (
    affine_parameters,
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    quantize_weight,
)

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
    with pytest.raises(ValueError, match="group_size None"):
        quantize_weight(torch.ones(2, 2), 8, "group")
    with pytest.raises(ValueError, match="group_size 4"):
        quantize_weight(torch.ones(2, 2), 8, "channel", 4)
    with pytest.raises(ValueError, match="begin before it ends"):
        affine_parameters(1.0, -1.0, 8)


@pytest.mark.parametrize(("bits", "integers"), [(8, [127, -76, 33, 0]), (6, [31, -19, 8, 0]), (4, [7, -4, 2, 0])])
def test_fewer_bits_by_hand(bits, integers):
    """The peak 1 meets 127, 31 or 7; other weights round to the nearest integer."""
    made, scale, zero_point = quantize_weight(torch.tensor([[1.0, -0.6, 0.26, 0.0]]), bits, "channel")
    assert made.tolist() == [integers] and zero_point.tolist() == [0]
    assert scale.item() == pytest.approx(1 / integers[0])
    assert dequantize(made, scale, zero_point)[0].tolist() == pytest.approx([n / integers[0] for n in integers])


def test_groups_by_hand():
    """Groups of 2 in rows of 5: the last one is shorter, none crosses a channel, and each has its own peak."""
    weight = torch.tensor([[7.0, 1.0, 70.0, 10.0, 0.7], [0.0, 0.0, -14.0, 3.0, -700.0]])
    integers, scale, zero_point = quantize_weight(weight, 4, "group", 2)
    torch.testing.assert_close(scale, torch.tensor([[1.0, 10.0, 0.1], [1.0, 2.0, 100.0]]))
    assert integers.tolist() == [[7, 1, 7, 1, 7], [0, 0, -7, 2, -7]]
    restored = torch.tensor([[7.0, 1.0, 70.0, 10.0, 0.7], [0.0, 0.0, -14.0, 4.0, -700.0]])
    torch.testing.assert_close(dequantize(integers, scale, zero_point, 2), restored)


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize(("shape", "size", "groups"), [((6, 70), 64, 2), ((6, 3, 3, 3), 4, 7), ((6, 5), 64, 1)])
def test_groups_run_through_a_flattened_channel(shape, size, groups, bits):
    """Groups ignore kernel dimensions, and each error is at most half the step of its own group."""
    weight = _weight(shape)
    integers, scale, zero_point = quantize_weight(weight, bits, "group", size)
    assert scale.shape == (6, groups)
    error = (dequantize(integers, scale, zero_point, size) - weight).abs().flatten(1)
    for number, part in enumerate(error.split(size, dim=1)):
        assert (part.amax(dim=1) <= scale[:, number] / 2 * (1 + 1e-5)).all()
    if groups == 1:
        assert torch.equal(integers, quantize_weight(weight, bits, "channel")[0])


def test_finer_granularity_and_more_bits_have_less_error():
    """The order of all variants: tensor, channel, group; four, six, eight bits."""

    def error(bits: int, granularity: str, size: int | None = None) -> float:
        rounded = dequantize(*quantize_weight(weight, bits, granularity, size), size)
        return (rounded - weight).square().mean().item()

    weight = torch.randn(32, 128, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.2, 2, 32)[:, None]
    for bits in (4, 6, 8):
        groups = [error(bits, "group", size) for size in (16, 64)]
        assert groups == sorted(groups) and groups[-1] < error(bits, "channel") < error(bits, "tensor")
    assert error(8, "channel") < error(6, "channel") / 8 < error(4, "channel") / 64


@pytest.mark.parametrize(
    ("least", "greatest", "bits", "scale", "zero_point"),
    [
        (-1.0, 1.55, 8, 0.01, -28),
        (0.0, 2.55, 8, 0.01, -128),
        (1.0, 2.55, 8, 0.01, -128),
        (-5.0, -2.0, 4, 1 / 3, 7),
        (-1.0, 5.3, 6, 0.1, -22),
        (0.0, 0.0, 8, 1.0, -128),
    ],
)
def test_the_affine_range_by_hand(least, greatest, bits, scale, zero_point):
    """The range, widened to contain zero, is spread over all integers."""
    found = affine_parameters(least, greatest, bits)
    assert (found[0].item(), found[1].item()) == (pytest.approx(scale), zero_point)


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize(("least", "greatest"), [(-0.37, 2.91), (-3.1, 0.02), (0.4, 1.7), (-2.0, -0.3)])
def test_activations_err_by_half_a_step_and_zero_not_at_all(least, greatest, bits):
    """The bound inside the range, zero exact (padding and ReLU stay), the ends clamped, a NaN not hidden."""
    scale, zero_point = affine_parameters(least, greatest, bits)
    values = torch.linspace(least, greatest, 1001)
    rounded = fake_quantize(values, scale, zero_point, bits)
    assert ((rounded - values).abs() <= scale / 2 * (1 + 1e-4)).all()
    assert 2 ** (bits - 1) / 2 < len(rounded.unique()) <= 2**bits
    outside = fake_quantize(torch.tensor([0.0, 1e6, -1e6, torch.nan]), scale, zero_point, bits)
    assert outside[0] == 0 and outside[3].isnan()
    assert outside[1] - outside[2] == pytest.approx((2**bits - 1) * scale.item(), rel=1e-5)
    low = fake_quantize(values.half(), scale, zero_point, bits)
    assert low.dtype == torch.float16
    assert torch.equal(low, fake_quantize(values.half().float(), scale, zero_point, bits).half())
