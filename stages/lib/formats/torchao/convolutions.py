"""Convolutions whose weights are stored as INT8 and unpacked each time they are read.

torchao converts a Conv2d, but cannot run what it made. Here integers (out, in, h, w) and one FP32 scale per output
channel take the weight's place (stages.lib.formats.shared.quantization), on disk and in memory; the convolution itself
is computed in floating point. Under torch.compile unpacking is one kernel of its own before each convolution.
"""

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrize

from stages.lib.formats.shared.quantization import quantize_weight
from stages.lib.models.components import weight_files


def convolutions(network: nn.Module, spared: Collection[str]) -> list[str]:
    """The names of a network's Conv2d layers but the `spared`, in its order."""
    layers = network.named_modules()
    return [name for name, module in layers if isinstance(module, nn.Conv2d) and name not in spared]


def pack(state: dict[str, torch.Tensor], names: list[str]) -> None:
    """Replace the weights of the layers `names` in `state` by integers, and add their scales (out,)."""
    for name in names:
        integers, scale, _ = quantize_weight(state[f"{name}.weight"].float())
        state[f"{name}.weight"], state[f"{name}.weight_scale"] = integers, scale


def put_back(network: nn.Module, folder: Path, component: str, names: list[str], dtype: torch.dtype) -> None:
    """Give the layers `names` of a network on the CPU their stored integers, to be read as `dtype`."""
    wanted = set(names)
    for path in weight_files(folder, component):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                name = key.removesuffix(".weight")
                if name in wanted and name != key:
                    layer = network.get_submodule(name)
                    layer.weight = nn.Parameter(file.get_tensor(key), requires_grad=False)
                    unpacked = Unpacked(file.get_tensor(f"{key}_scale"), dtype)
                    parametrize.register_parametrization(layer, "weight", unpacked, unsafe=True)


class Unpacked(nn.Module):
    """Reads stored integers (out, ...) as integers times scale (out,), in `dtype`."""

    def __init__(self, scale: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)
        self.dtype = dtype

    def forward(self, integers: torch.Tensor) -> torch.Tensor:
        """The weight."""
        return (integers * self.scale.reshape(-1, *[1] * (integers.ndim - 1))).to(self.dtype)
