"""Simulated quantization of activations: the inputs of convolutions and linear layers, rounded on their way in.

Each layer has one range per input tensor, static: the least and the greatest number that entered it while the FP32
network ran on the calibration inputs, nothing clipped, widened to contain zero. Rounding is asymmetric, as integer
kernels have it for activations (stages.lib.formats.shared.quantization.affine_parameters). Matrix products inside
attention, normalizations and embeddings take what they are given. What generation does not run, such as the encoder of
a VAE, has no ranges and is left alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from stages.lib.formats.shared.quantization import affine_parameters, fake_quantize
from stages.lib.models.calls import NetworkCall, run
from stages.lib.models.components import ACTIVATIONS_FILE
from stages.lib.project.errors import UserError
from stages.lib.project.files import write_bytes

ROUNDED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def rounded_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers of a network whose inputs can be rounded, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ROUNDED)}


def measure_ranges(network: nn.Module, component: str, calls: Sequence[NetworkCall]) -> dict[str, tuple[float, float]]:
    """The least and the greatest number that enters each layer that an FP32 network runs for `calls`.

    UserError where something infinite enters a layer, or none is reached.
    """
    layers = rounded_layers(network)
    seen: dict[str, list[torch.Tensor]] = {}

    def look(name: str, args: tuple) -> None:
        seen.setdefault(name, []).append(torch.stack(args[0].aminmax()))

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: look(name, args)) for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            for call in calls:
                run(network, call)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise UserError(f"no layer of '{component}' is reached by its calibration calls: bring a sound model")
    return {name: _range(seen[name], f"layer '{name}' of '{component}'") for name in layers if name in seen}


def _range(ends: list[torch.Tensor], layer: str) -> tuple[float, float]:
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


def round_inputs(network: nn.Module, folder: Path, bits: int) -> None:
    """Make a loaded network round what enters its layers, as the file in the component's `folder` says.

    A file that is missing, or that belongs to other layers, is a UserError.
    """
    path = folder / ACTIVATIONS_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro` to make the model folder again")
    state, layers = load_file(path), rounded_layers(network)
    names = {key.rpartition(".")[0] for key in state}
    wanted = {f"{name}.{part}" for name in names & layers.keys() for part in ("input_scale", "input_zero_point")}
    if strange := sorted(state.keys() ^ wanted):
        raise UserError(
            f"{path}: tensor '{strange[0]}' is missing or belongs to no layer: delete {folder.parent}, run `dvc repro`"
        )
    for name in sorted(names):
        layer = layers[name]
        layer.input_rounding = InputRounding(state[f"{name}.input_scale"], state[f"{name}.input_zero_point"], bits)
        layer.register_forward_pre_hook(_round_input)


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
