"""What rounding to INT8 does to one real weight tensor: the numbers behind Figure 2."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.lib.errors import UserError

LARGEST = 127  # symmetric INT8: the scale maps the largest magnitude to 127


@dataclass(frozen=True)
class RoundedWeight:
    """One convolution's weights before and after. `values` and `restored` are flat; `scale` is the step size."""

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


def largest_convolution(folder: Path) -> tuple[str, np.ndarray]:
    """Name and FP32 values (out, in, h, w) of the U-Net's largest convolution weight in the pipeline `folder`.

    Of several equally large ones, the first by name.
    """
    from safetensors import safe_open

    found: list[tuple[int, str, Path, str]] = []
    for path in sorted((folder / "unet").glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (a safe_open handle is no dictionary)
                tensor = file.get_slice(name)
                shape = tensor.get_shape()
                if len(shape) == 4 and shape[2] * shape[3] > 1:
                    found.append((-int(np.prod(shape)), name, path, tensor.get_dtype()))
    if not found:
        raise UserError(f"{folder / 'unet'} has no convolution weight in safetensors: run `dvc repro download`")
    _, name, path, dtype = min(found)
    if dtype == "BF16":  # numpy has no such dtype
        with safe_open(path, framework="pt") as file:
            return name, file.get_tensor(name).float().numpy()
    with safe_open(path, framework="numpy") as file:
        return name, file.get_tensor(name).astype(np.float32)


def round_weight(name: str, weight: np.ndarray) -> RoundedWeight:
    """Round to symmetric INT8 with one scale for the tensor; the ratio in dB also with one scale per output channel."""
    values = weight.astype(np.float64)
    scale = float(np.abs(values).max()) / LARGEST
    if scale == 0:
        raise UserError(
            f"weight '{name}' of the U-Net is zero everywhere: the model in data/models/base is not trained"
        )
    restored = _round(values, scale)
    rows = values.reshape(len(values), -1)
    scales = np.abs(rows).max(axis=1, keepdims=True) / LARGEST
    per_channel = _round(rows, np.where(scales == 0, 1, scales))
    return RoundedWeight(
        name=name,
        shape=weight.shape,
        values=values.ravel(),
        restored=restored.ravel(),
        scale=scale,
        signal_to_noise_db=_signal_to_noise_db(values, restored),
        signal_to_noise_per_channel_db=_signal_to_noise_db(rows, per_channel),
    )


def _round(values: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    return np.clip(np.round(values / scale), -LARGEST - 1, LARGEST) * scale


def _signal_to_noise_db(values: np.ndarray, restored: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(values**2) / max(np.mean((values - restored) ** 2), np.finfo(float).tiny)))
