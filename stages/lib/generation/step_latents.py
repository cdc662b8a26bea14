"""Where along the denoising do two formats part? The latents after every step, stored and compared."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

TRAJECTORIES = "latents.safetensors"


class Recorder:
    """Keeps a copy of the latents, FP32 on the CPU, each time it is called with them."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, latents: "torch.Tensor") -> None:
        """Keep `latents` (1, ...) of any floating dtype, on any device."""
        import torch

        self.steps.append(latents.detach().to(device="cpu", dtype=torch.float32, copy=True)[0])

    def stacked(self) -> "np.ndarray":
        """All that was kept, (steps, ...)."""
        import torch

        return torch.stack(self.steps).numpy()


def write_trajectories(folder: Path, recorded: "dict[str, np.ndarray]") -> None:
    """latents.safetensors in `folder`: per prompt id FP32 (steps, ...), in the order of the steps."""
    from safetensors.numpy import save_file

    save_file(recorded, folder / TRAJECTORIES)


def read_trajectories(folder: Path) -> dict[str, "np.ndarray"]:
    """By prompt id: the latents after every step, FP32 (steps, ...). A missing or broken file is a UserError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path, remedy = folder / TRAJECTORIES, f"run `dvc repro -f generate@{folder.name}`"
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except SafetensorError as error:
        raise UserError(f"{path} is broken ({error}): {remedy}") from None


def snr_db(reference: "np.ndarray", latents: "np.ndarray") -> list[float | None]:
    """Signal-to-noise ratio in dB after each step of latents (steps, ...): 10 log10(|reference|^2 / |difference|^2).

    None where they are equal. Raises ValueError if the shapes differ or the reference is zero.
    """
    if reference.shape != latents.shape:
        raise ValueError(f"trajectories of different shapes: {reference.shape} and {latents.shape}")
    axes = tuple(range(1, reference.ndim))
    exact = reference.astype("float64")
    signal = (exact**2).sum(axes)
    noise = ((latents.astype("float64") - exact) ** 2).sum(axes)
    if not signal.all():
        raise ValueError("the reference latents are zero after some step: their ratio to anything is undefined")
    return [10 * math.log10(s / n) if n else None for s, n in zip(signal.tolist(), noise.tolist(), strict=True)]


def compare_trajectories(reference: dict[str, "np.ndarray"], latents: dict[str, "np.ndarray"]) -> dict:
    """SNR in dB per prompt after every step, and its mean over prompts; None where (all) latents are equal.

    Only prompts that both have are compared. Trajectories of different lengths are a UserError.
    """
    shared = [id for id in reference if id in latents]
    for id in shared:
        if reference[id].shape != latents[id].shape:
            raise UserError(
                f"the latents of '{id}' have the shapes {reference[id].shape} and {latents[id].shape}: "
                "run `dvc repro generate`"
            )
    ratios = {id: snr_db(reference[id], latents[id]) for id in sorted(shared)}
    return {"prompts": len(shared), "snr_db": ratios, "mean_snr_db": _means(list(ratios.values()))}


def _means(rows: list[list[float | None]]) -> list[float | None]:
    """Mean per step over the rows that have a value there."""
    found = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    return [sum(values) / len(values) if values else None for values in found]
