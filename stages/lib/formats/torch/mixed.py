"""Mixed precision: which layers of a denoiser keep 8 or 16 bits while the others have 4, under a budget of bits.

Every layer is rounded to 4 and to 8 bits alone (see the module `layers`); 16 bits are FP16, not rounded. Greedily, the
step up that saves the most noise for each bit that it costs is taken, as long as the mean stays within the budget: the
usual heuristic for such a knapsack, which falls short of the best choice by less than what one step saves.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from stages.lib.formats.shared.quantization import Granularity
from stages.lib.formats.torch.examples import Batch, examples, output_noise, outputs_of_parts, predict, resumed
from stages.lib.formats.torch.layers import map_over_twins, round_layers, rounded_weights, weight_layers
from stages.lib.models.calibration import Calls
from stages.lib.project.errors import UserError
from stages.lib.project.files import write_json
from stages.lib.project.params import Variant
from stages.lib.project.variant import GROUP_SCALE_BITS

LOW, HIGH, KEPT = 4, 8, 16
PLAN_FILE = "layer_bits.json"


@dataclass(frozen=True)
class LayerNoise:
    """One layer: how many weights it has, and the output noise-to-signal ratio with it alone at LOW or HIGH bits."""

    weights: int
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """Bits of every layer, and the mean over weights, scales of groups included."""

    bits: dict[str, int]
    mean_bits: float


def measure_layers(
    denoiser: nn.Module, batch: Batch, granularity: Granularity, group_size: int | None = None
) -> dict[str, LayerNoise]:
    """The noise of each layer alone on a batch of `examples`."""
    reference, outputs = outputs_of_parts(denoiser, batch)

    def measure(network: nn.Module, name: str) -> LayerNoise:
        layers = weight_layers(network)

        def noise(bits: int) -> float:
            with rounded_weights(layers, {name: bits}, granularity, group_size), resumed(network, outputs, name):
                return output_noise(reference, predict(network, batch))

        return LayerNoise(layers[name].weight.numel(), noise(LOW), noise(HIGH))

    names = list(weight_layers(denoiser))
    measured = map_over_twins(denoiser, measure, names)
    progress: Iterable = tqdm(measured, desc="layers", total=len(names), unit="layer", mininterval=1)
    return dict(zip(names, progress, strict=True))


def choose_bits(noise: Mapping[str, LayerNoise], mean_bits: float, group_size: int | None = None) -> Plan:
    """LOW bits for every layer, and HIGH or KEPT for those where it saves most, at or below a mean of `mean_bits`.

    A step that saves nothing is not taken. A budget below LOW bits is a UserError.
    """
    share = GROUP_SCALE_BITS / group_size if group_size else 0.0
    weights = sum(layer.weights for layer in noise.values())
    spare = (mean_bits - share - LOW) * weights
    if spare < 0:
        raise UserError(
            f"params.yaml: `mean_bits` has the value {mean_bits:g}, but {LOW} bits and the scales of groups take "
            f"{LOW + share:g}: raise it"
        )
    bits = dict.fromkeys(noise, LOW)
    for _gain, name, before, after in sorted(_steps(noise)):
        cost = (after - before) * noise[name].weights
        if bits[name] == before and cost <= spare:
            bits[name], spare = after, spare - cost
    used = sum(count * noise[name].weights for name, count in bits.items())
    return Plan(bits, used / weights + share)


def _steps(noise: Mapping[str, LayerNoise]) -> Iterator[tuple[float, str, int, int]]:
    """Every step up that saves something: minus the noise saved per bit, layer, bits before, bits after."""
    for name, layer in noise.items():
        for before, after, saved in ((LOW, HIGH, layer.low - layer.high), (HIGH, KEPT, layer.high)):
            if saved > 0:
                yield -saved / ((after - before) * layer.weights), name, before, after


def expected_noise(noise: Mapping[str, LayerNoise], bits: Mapping[str, int]) -> float:
    """The sum of the noise of each layer alone; `bits` are LOW, HIGH or KEPT."""
    return sum({LOW: noise[name].low, HIGH: noise[name].high, KEPT: 0.0}[count] for name, count in bits.items())


def choose_and_round(
    denoiser: nn.Module, component: str, variant: Variant, calibration: Calls | None, folder: Path
) -> None:
    """Round the weights of an FP32 denoiser as `variant` says, in place, and write the plan into the `folder`."""
    batch = examples((calibration or {}).get(component, []))
    # It only looks at outputs: the machine's fastest device may do it.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    denoiser.to(device)
    noise = measure_layers(denoiser, batch.to(device), variant.granularity, variant.scale_group_size)
    plan = choose_bits(noise, variant.mean_bits, variant.scale_group_size)
    denoiser.to("cpu")
    round_layers(weight_layers(denoiser), plan.bits, variant.granularity, variant.scale_group_size)
    write_json(folder / PLAN_FILE, {"bits": plan.bits, "mean_bits": plan.mean_bits})
