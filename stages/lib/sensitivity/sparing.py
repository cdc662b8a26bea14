"""Which layers of a denoiser to leave in 16 bits, for each kind of format, and what that buys, measured.

What rounding a layer does to the prediction is, to first order, the noise that it causes in the layer's own output,
times a gain that does not depend on the format. The stage sensitivity_layers has measured the former's effect for
integer weights of 4 and 8 bits; the gain follows from 8 bits, and the noise in the layer's own output is measured here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import nn

from stages.lib.formats.shared.quantization import affine_parameters, dequantize, fake_quantize, quantize_weight
from stages.lib.formats.torch.examples import Batch, output_noise, predict
from stages.lib.formats.torch.layers import rounded_inputs, weight_layers

Ranges = Mapping[str, tuple[float, float]]
SPARED_BITS = 16
# Of the bytes of all layers' weights in the format, what sparing may add: the points of the curve, and the recommended.
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
RECOMMENDED_SHARE = 0.05


@dataclass(frozen=True)
class Kind:
    """A kind of format: the bits of weights, whether they are FP8, and whether what enters a layer is INT8."""

    name: str
    bits: int
    floating: bool = False
    activations: bool = False

    def rounded(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight (out, ...) as this kind has it, in FP32: integers have a scale per output channel, FP8 has none."""
        if self.floating:
            largest = torch.finfo(torch.float8_e4m3fn).max
            return weight.clamp(-largest, largest).to(torch.float8_e4m3fn).to(weight.dtype)
        return dequantize(*quantize_weight(weight, self.bits, "channel"))

    def bytes(self, weights: int, spared: bool) -> float:
        """What so many weights take."""
        return weights * (SPARED_BITS if spared else self.bits) / 8


INT8, W8A8, FLOAT8, INT4 = "int8", "int8_activations", "float8", "int4"
KINDS = (Kind(INT8, 8), Kind(W8A8, 8, activations=True), Kind(FLOAT8, 8, floating=True), Kind(INT4, 4))


def local_noise(denoiser: nn.Module, batch: Batch, ranges: Ranges) -> dict[str, dict[str, float]]:
    """By kind and layer: the noise-to-signal ratio in the layer's own output, with it alone rounded.

    A layer that the batch does not run has none.
    """
    layers = weight_layers(denoiser)
    sums: dict[tuple[str, str], list[float]] = {}

    def hook(name: str):
        def compare(layer: nn.Module, args: tuple, output: torch.Tensor) -> None:
            exact = layer.weight
            for kind in KINDS:
                layer.weight = nn.Parameter(kind.rounded(exact), requires_grad=False)
                given = _entering(kind, args[0], ranges.get(name))
                error = (layer.forward(given) - output).double().square().sum().item()
                so_far = sums.setdefault((kind.name, name), [0.0, 0.0])
                so_far[0] += error
                so_far[1] += output.double().square().sum().item()
            layer.weight = exact

        return compare

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        predict(denoiser, batch)
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, dict[str, float]] = {kind.name: {} for kind in KINDS}
    for (kind, name), (error, signal) in sums.items():
        found[kind][name] = error / signal if signal else 0.0
    return found


def _entering(kind: Kind, values: torch.Tensor, ends: tuple[float, float] | None) -> torch.Tensor:
    if not kind.activations or ends is None:
        return values
    scale, zero_point = (item.to(values.device) for item in affine_parameters(*ends, 8))
    return fake_quantize(values, scale, zero_point, 8)


def damages(measured: Sequence[dict], local: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """By kind and layer, the noise-to-signal ratio in the prediction; `measured` are the rows of sensitivity_layers.

    Of integer weights it is what was measured, of the others the noise in the layer's own output times its gain.
    """
    found: dict[str, dict[str, float]] = {
        INT8: {row["layer"]: row["noise_8_bits"] for row in measured},
        INT4: {row["layer"]: row["noise_4_bits"] for row in measured},
    }
    for kind in (W8A8, FLOAT8):
        found[kind] = {}
        for name, noise in found[INT8].items():
            reference = local[INT8].get(name, 0.0)
            found[kind][name] = noise / reference * local[kind][name] if reference else 0.0
    return found


def ordered(damage: Mapping[str, float], weights: Mapping[str, int]) -> list[str]:
    """Layers, the one that avoids most damage for each byte that sparing it adds first."""
    return sorted(damage, key=lambda name: (-damage[name] / weights[name], name))


def prefix(kind: Kind, order: Sequence[str], weights: Mapping[str, int], share: float) -> int:
    """How many of the first layers of `order` add no more than `share` of the bytes of all in the format."""
    allowed = share * kind.bytes(sum(weights.values()), False)
    added = accumulate(kind.bytes(weights[name], True) - kind.bytes(weights[name], False) for name in order)
    return sum(item <= allowed for item in added)


@contextmanager
def rounded_but(network: nn.Module, kind: Kind, spared: Sequence[str], ranges: Ranges) -> Iterator[None]:
    """All layers of a network but the `spared` are rounded until the block ends, weights and what enters them."""
    layers = {name: layer for name, layer in weight_layers(network).items() if name not in set(spared)}
    kept = {name: layer.weight for name, layer in layers.items()}
    try:
        for name, weight in kept.items():
            layers[name].weight = nn.Parameter(kind.rounded(weight), requires_grad=False)
        with rounded_inputs(layers, list(layers) if kind.activations else [], ranges, 8):
            yield
    finally:
        for name, weight in kept.items():
            layers[name].weight = weight


def curve(
    denoiser: nn.Module, batch: Batch, kind: Kind, order: Sequence[str], weights: Mapping[str, int], ranges: Ranges
) -> list[dict]:
    """What sparing the first layers of `order` buys: bytes of all weights and noise in the prediction, measured."""
    reference, rows = predict(denoiser, batch), []
    for count in sorted({prefix(kind, order, weights, share) for share in SHARES}):
        spared = order[:count]
        with rounded_but(denoiser, kind, spared, ranges):
            noise = output_noise(reference, predict(denoiser, batch))
        size = sum(kind.bytes(weights[name], name in spared) for name in order)
        rows.append({"spared": count, "bytes": int(size), "noise": noise})
    return rows


def study(denoiser: nn.Module, batch: Batch, measured: Sequence[dict], ranges: Ranges) -> list[dict]:
    """For each kind: all layers in the order in which to spare them, how many are recommended, and the curve.

    `measured` are the rows of the stage sensitivity_layers, whose layers are those of `weight_layers`; each gets the
    noise that the kinds cause of which it has none.
    """
    weights = {row["layer"]: row["weights"] for row in measured}
    damage = damages(measured, local_noise(denoiser, batch, ranges))
    for row in measured:
        row |= {f"noise_{kind}": damage[kind][row["layer"]] for kind in (W8A8, FLOAT8)}
    orders = {kind: ordered(damage[kind.name], weights) for kind in KINDS}
    return [
        {
            "kind": kind.name,
            "order": order,
            "recommended": prefix(kind, order, weights, RECOMMENDED_SHARE),
            "share": RECOMMENDED_SHARE,
            "curve": curve(denoiser, batch, kind, order, weights, ranges),
        }
        for kind, order in orders.items()
    ]
