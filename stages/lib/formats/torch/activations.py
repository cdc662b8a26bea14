"""Simulated quantization of activations: the inputs of convolutions and linear layers, rounded on their way in.

Each layer has one range per input tensor, static: the least and the greatest number that entered it while the FP32
network ran on the calibration inputs, nothing clipped, widened to contain zero. Rounding is asymmetric, as integer
kernels have it for activations (stages.lib.formats.shared.quantization.affine_parameters). Matrix products inside
attention, normalizations and embeddings take what they are given. The VAE only decodes here: its encoder has no ranges
and is left alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from stages.lib.formats.shared.quantization import affine_parameters, fake_quantize
from stages.lib.models.components import ACTIVATIONS_FILE
from stages.lib.project.errors import UserError
from stages.lib.project.files import write_bytes

# Generation never runs these.
IDLE_LAYERS = {"vae": ("encoder.", "quant_conv")}


def rounded_layers(network: nn.Module, component: str) -> dict[str, nn.Module]:
    """The layers of a network whose inputs are rounded, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not name.startswith(IDLE_LAYERS.get(component, ()))
    }


def measure_ranges(
    network: nn.Module, component: str, inputs: list[dict[str, torch.Tensor]]
) -> dict[str, tuple[float, float]]:
    """The least and the greatest number that enters each rounded layer while an FP32 network runs on `inputs`.

    `inputs` are named as in stages.lib.models.calibration. UserError for a layer that they do not reach, or that
    something infinite enters.
    """
    layers = rounded_layers(network, component)
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(torch.stack(args[0].aminmax())))
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            for item in inputs:
                _run(network, component, item)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _range(ends, f"layer '{name}' of '{component}'") for name, ends in seen.items()}


def _run(network: nn.Module, component: str, item: dict[str, torch.Tensor]) -> None:
    """What generation does with one network."""
    if component == "unet":
        network(item["sample"], item["timestep"], encoder_hidden_states=item["text"])
    elif component == "vae":
        network.decode(item["latents"])
    elif component == "safety_checker":
        network.visual_projection(network.vision_model(item["pixels"])[1])
    else:
        network(item["tokens"])


def _range(ends: list[torch.Tensor], layer: str) -> tuple[float, float]:
    if not ends:
        raise UserError(
            f"{layer} is not reached by the calibration inputs, so its range is unknown: bring a sound model"
        )
    both = torch.stack(ends)
    if not both.isfinite().all():
        raise UserError(f"{layer} is given numbers that are not finite by the FP32 model: bring a sound model")
    return both[:, 0].min().item(), both[:, 1].max().item()


def write_ranges(ranges: Mapping[str, tuple[float, float]], bits: int, folder: Path) -> None:
    """Store `<layer>.input_scale` (FP32) and `<layer>.input_zero_point` (int8) in the `folder` of a component."""
    state = {}
    for name in sorted(ranges):
        state[f"{name}.input_scale"], state[f"{name}.input_zero_point"] = affine_parameters(*ranges[name], bits)
    write_bytes(folder / ACTIVATIONS_FILE, save(state))


def round_inputs(network: nn.Module, component: str, folder: Path, bits: int) -> None:
    """Make a loaded network round what enters its layers, as the file in the component's `folder` says.

    A file that is missing, or that belongs to other layers, is a UserError.
    """
    path = folder / ACTIVATIONS_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro` to make the model folder again")
    state = load_file(path)
    layers = rounded_layers(network, component)
    strange = sorted(state.keys() ^ set(_names(layers)))
    if strange:
        raise UserError(
            f"{path}: tensor '{strange[0]}' is missing or belongs to no layer: delete {folder.parent}, run `dvc repro`"
        )
    for name, layer in layers.items():
        layer.input_rounding = InputRounding(state[f"{name}.input_scale"], state[f"{name}.input_zero_point"], bits)
        layer.register_forward_pre_hook(_round_input)


def _names(layers: Mapping[str, nn.Module]) -> Iterator[str]:
    for name in layers:
        yield f"{name}.input_scale"
        yield f"{name}.input_zero_point"


def _round_input(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.input_rounding(args[0]), *args[1:])


class InputRounding(nn.Module):
    """Rounds a tensor of any shape and floating-point dtype with a fixed scale; the arithmetic is FP32."""

    def __init__(self, scale: torch.Tensor, zero_point: torch.Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return fake_quantize(values, self.scale, self.zero_point, self.bits)
