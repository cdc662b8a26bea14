"""Which layers of the denoiser must not be rounded?

Every layer, every block and every kind of layer is rounded alone, on real inputs of the calibration file, and the noise
in the denoiser's output is measured; then mixtures of 4, 8 and 16 bits under several budgets of bits a weight. The same
measurement chooses the layers of a variant with `mean_bits`, and tells those to spare (stages.lib.sensitivity.sparing).
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.models.kinds import kind_of as kind_of_model
from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params

if TYPE_CHECKING:
    from torch import nn

    from stages.lib.formats.torch.examples import Batch
    from stages.lib.formats.torch.mixed import LayerNoise

# One scale per output channel, as integer convolutions have it.
GRANULARITY = "channel"
MIXED_BUDGETS = (4.25, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0)
MIB = 1024**2


def group_rows(
    denoiser: "nn.Module", batch: "Batch", groups: Mapping[str, list[str]], ranges: Mapping[str, tuple[float, float]]
) -> list[dict]:
    """Each group of layers rounded as a whole: its weights to 4 and to 8 bits, and what enters its layers to 8 bits.

    `noise_activations` is None where nothing that enters is rounded (embeddings).
    """
    from stages.lib.formats.torch.examples import output_noise, predict
    from stages.lib.formats.torch.layers import map_over_twins, rounded_inputs, rounded_weights, weight_layers
    from stages.lib.formats.torch.mixed import HIGH, LOW

    reference = predict(denoiser, batch)

    def measure(network: "nn.Module", name: str) -> dict:
        layers, members = weight_layers(network), groups[name]

        def noise() -> float:
            return output_noise(reference, predict(network, batch))

        row = {"name": name, "layers": len(members), "weights": sum(layers[key].weight.numel() for key in members)}
        for bits in (LOW, HIGH):
            with rounded_weights(layers, dict.fromkeys(members, bits), GRANULARITY):
                row[f"noise_{bits}_bits"] = noise()
        with rounded_inputs(layers, members, ranges, HIGH):
            row["noise_activations"] = noise() if any(key in ranges for key in members) else None
        return row

    measured = map_over_twins(denoiser, measure, groups)
    rows = tqdm(measured, desc="sensitivity groups", total=len(groups), unit="group", mininterval=1)
    return sorted(rows, key=lambda row: -row["noise_4_bits"])


def budget_rows(denoiser: "nn.Module", batch: "Batch", noise: Mapping[str, "LayerNoise"]) -> list[dict]:
    """What mixtures buy: uniform 4, 6 and 8 bits, and mixtures of 4, 8 and 16, by their bits a weight.

    The size is that of the layers' weights at those bits, without scales, in every row. `noise` is measured; `expected`
    is the sum of what was measured of single layers, None for bits that were not.
    """
    from stages.lib.formats.torch.examples import output_noise, predict
    from stages.lib.formats.torch.layers import rounded_weights, weight_layers
    from stages.lib.formats.torch.mixed import HIGH, KEPT, LOW, choose_bits, expected_noise

    layers = weight_layers(denoiser)
    reference = predict(denoiser, batch)
    weights = sum(layer.weights for layer in noise.values())

    def row(kind: str, bits: Mapping[str, int], allowed: float) -> dict:
        with rounded_weights(layers, bits, GRANULARITY):
            measured = output_noise(reference, predict(denoiser, batch))
        stored = sum(count * noise[name].weights for name, count in bits.items())
        return {
            "kind": kind,
            "allowed_bits": allowed,
            "mean_bits": stored / weights,
            "size_mib": stored / 8 / MIB,
            "layers_8_bits": sum(count == HIGH for count in bits.values()),
            "layers_16_bits": sum(count == KEPT for count in bits.values()),
            "noise": measured,
            "expected": expected_noise(noise, bits) if set(bits.values()) <= {LOW, HIGH, KEPT} else None,
        }

    uniform = [row("uniform", dict.fromkeys(noise, bits), float(bits)) for bits in (LOW, 6, HIGH)]
    mixed = [row("mixed", choose_bits(noise, allowed).bits, allowed) for allowed in MIXED_BUDGETS]
    return sorted([*uniform, *mixed], key=lambda row: row["mean_bits"])


def layer_rows(noise: Mapping[str, "LayerNoise"], block_of: Callable, kind_of: Callable) -> list[dict]:
    """Every layer, the one that suffers most from 4 bits first."""
    rows = [
        {
            "layer": name,
            "block": block_of(name),
            "kind": kind_of(name),
            "weights": layer.weights,
            "noise_4_bits": layer.low,
            "noise_8_bits": layer.high,
        }
        for name, layer in noise.items()
    ]
    return sorted(rows, key=lambda row: (-row["noise_4_bits"], row["layer"]))


def main() -> None:
    """Round, predict, compare, write, print one line."""
    arguments = command_line(__doc__, "base", "calibration", "output", spare="the layers to spare (YAML) to write")
    params = load_params()

    from stages.lib.sensitivity.spare_file import write_spare_file

    component = kind_of_model(arguments.base).of_role("denoiser")[0]
    if reason := params.not_generated:
        write_json(arguments.output, {"measured": False, "reason": reason})
        write_spare_file(arguments.spare, component, None)
        print(f"sensitivity_layers: not measured ({reason})")
        return

    import torch

    from stages.lib.formats.torch.activations import measure_ranges
    from stages.lib.formats.torch.examples import examples
    from stages.lib.formats.torch.layers import block_of, grouped, kind_of
    from stages.lib.formats.torch.mixed import measure_layers
    from stages.lib.generation.sampling import use_deterministic_algorithms
    from stages.lib.models.calibration import read_calls
    from stages.lib.models.components import load_component
    from stages.lib.sensitivity.sparing import study

    use_deterministic_algorithms()
    calls = read_calls(arguments.calibration).get(component, [])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch = examples(calls).to(device)
    denoiser = load_component(arguments.base, component, "float32")
    ranges = measure_ranges(denoiser, component, calls)
    denoiser.to(device)
    noise = measure_layers(denoiser, batch, GRANULARITY)
    report = {
        "examples": batch.count,
        "granularity": GRANULARITY,
        "layers": layer_rows(noise, block_of, kind_of),
        "blocks": group_rows(denoiser, batch, grouped(noise, block_of), ranges),
        "kinds": group_rows(denoiser, batch, grouped(noise, kind_of), ranges),
        "budgets": budget_rows(denoiser, batch, noise),
    }
    report["sparing"] = study(denoiser, batch, report["layers"], ranges)
    write_json(arguments.output, report)
    write_spare_file(arguments.spare, component, report["sparing"])
    worst = report["layers"][0]
    print(
        f"sensitivity_layers: {len(noise)} layers on {counted(report['examples'], 'input')}, '{worst['layer']}' "
        f"suffers most from 4 bits ({-10 * math.log10(worst['noise_4_bits']):.1f} dB), {arguments.took}"
    )


if __name__ == "__main__":
    run_stage(main)
