"""What rounding to INT8 does to one real weight tensor: the numbers behind Figure 2."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class RoundedWeight:
    """One convolution's weights before and after. `values` and `restored` are flat; `scale` is the step size."""

    name: str
    shape: tuple[int, ...]
    values: "np.ndarray"
    restored: "np.ndarray"
    scale: float
    signal_to_noise_db: float
    signal_to_noise_per_channel_db: float

    @property
    def errors_in_steps(self) -> "np.ndarray":
        """(x' - x) / s of every weight: -0.5 to 0.5."""
        return (self.restored - self.values) / self.scale


def largest_convolution(folder: Path) -> "tuple[str, torch.Tensor]":
    """Name and FP32 values (out, in, h, w) of the U-Net's largest convolution weight in the pipeline `folder`.

    Of several equally large ones, the first by name.
    """
    from safetensors import safe_open

    found: list[tuple[int, str, Path]] = []
    for path in sorted((folder / "unet").glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (a safe_open handle is no dictionary)
                shape = file.get_slice(name).get_shape()
                if len(shape) == 4 and shape[2] * shape[3] > 1:
                    found.append((-prod(shape), name, path))
    if not found:
        raise UserError(f"{folder / 'unet'} has no convolution weight in safetensors: run `dvc repro download`")
    _, name, path = min(found)
    with safe_open(path, framework="pt") as file:
        return name, file.get_tensor(name).float()


def round_weight(name: str, weight: "torch.Tensor") -> RoundedWeight:
    """Round to symmetric INT8 with one scale for the tensor; the ratio in dB also with one scale per output channel."""
    from stages.lib.quantization import dequantize, quantize_weight

    if not weight.any():
        raise UserError(
            f"weight '{name}' of the U-Net is zero everywhere: the model in data/models/base is not trained"
        )
    integers, scale, zero_point = quantize_weight(weight, 8, "tensor")
    restored = dequantize(integers, scale, zero_point)
    per_channel = dequantize(*quantize_weight(weight, 8, "channel"))
    return RoundedWeight(
        name=name,
        shape=tuple(weight.shape),
        values=weight.double().flatten().numpy(),
        restored=restored.double().flatten().numpy(),
        scale=scale.item(),
        signal_to_noise_db=_signal_to_noise_db(weight, restored),
        signal_to_noise_per_channel_db=_signal_to_noise_db(weight, per_channel),
    )


def _signal_to_noise_db(weight: "torch.Tensor", restored: "torch.Tensor") -> float:
    signal, noise = weight.double().square().mean(), (weight - restored).double().square().mean()
    return 10 * (signal / noise.clamp(min=1e-300)).log10().item()
