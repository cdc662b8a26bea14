"""What rounding to INT8 does to one real weight tensor: the numbers behind Figure 2.

The arithmetic is that of stages/lib/formats/shared/quantization.py, in NumPy: loading PyTorch would take longer than
all of this.
"""

import math
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError

LARGEST = 127  # the largest integer of symmetric INT8


@dataclass(frozen=True)
class RoundedWeight:
    """One convolution's weights before and after. `values` and `restored` are flat; `scale` is its step."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray
    restored: np.ndarray
    scale: float
    signal_to_noise_db: float
    signal_to_noise_per_channel_db: float

    @property
    def errors_in_steps(self) -> np.ndarray:
        """(x' - x) / s of every weight: -0.5 to 0.5."""
        return (self.restored - self.values) / self.scale


def largest_weight(folder: Path) -> "tuple[str, np.ndarray]":
    """Name and FP32 values of the denoiser's largest weight in the pipeline `folder`: (out, in, h, w) or (out, in).

    Of several equally large ones, the first by name.
    """
    from safetensors import safe_open

    found: list[tuple[int, str, Path, str]] = []
    denoiser = folder / kind_of(folder).of_role("denoiser")[0]
    for path in sorted(denoiser.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (a safe_open handle is no dictionary)
                part = file.get_slice(name)
                shape = part.get_shape()
                if len(shape) in (2, 4):
                    found.append((-prod(shape), name, path, part.get_dtype()))
    if not found:
        raise UserError(f"{denoiser} has no weight in safetensors: run `dvc repro download`")
    _, name, path, dtype = min(found)
    if dtype == "BF16":  # NumPy has no such numbers
        with safe_open(path, framework="pt") as file:
            return name, file.get_tensor(name).float().numpy()
    with safe_open(path, framework="np") as file:
        return name, file.get_tensor(name).astype("float32")


def round_weight(name: str, weight: np.ndarray) -> RoundedWeight:
    """Round to symmetric INT8 with one scale for the tensor; the ratio in dB also with one scale per output channel."""
    if not weight.any():
        raise UserError(f"weight '{name}' of the denoiser is zero everywhere: the base model is not trained")
    restored, scale = _rounded(weight, abs(weight).max())
    channels = abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    per_channel, _scales = _rounded(weight, channels)
    return RoundedWeight(
        name=name,
        shape=tuple(weight.shape),
        values=weight.astype("float64").ravel(),
        restored=restored.astype("float64").ravel(),
        scale=float(scale),
        signal_to_noise_db=_signal_to_noise_db(weight, restored),
        signal_to_noise_per_channel_db=_signal_to_noise_db(weight, per_channel),
    )


def _rounded(weight: np.ndarray, largest: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
    """The weight after rounding, and its scales; a channel of zeros has the scale 1."""
    scale = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1)).astype("float32")
    return np.clip(np.rint(weight / scale), -LARGEST - 1, LARGEST) * scale, scale


def _signal_to_noise_db(weight: np.ndarray, restored: np.ndarray) -> float:
    signal = (weight.astype("float64") ** 2).mean()
    noise = ((weight - restored).astype("float64") ** 2).mean()
    return 10 * math.log10(signal / max(noise, 1e-300))
