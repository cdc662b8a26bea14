"""Initial latents: drawn once per image in FP32 on the CPU, stored, and shared by all variants and devices."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.lib.project.errors import UserError


def initial_latents(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Standard normal noise, FP32 (1, *shape), from a CPU generator of its own: CUDA's gives other numbers."""
    return torch.randn((1, *shape), generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


def image_generator(shape: tuple[int, ...], seed: int) -> torch.Generator:
    """The generator of one image after its initial latents, of `shape` without the batch, were drawn from it.

    What schedulers draw besides follows, as in diffusers, and does not repeat those.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    torch.randn((1, *shape), generator=generator, dtype=torch.float32)
    return generator


def read_noise(path: Path, id: str) -> torch.Tensor:
    """The initial latents of prompt `id`, FP32, in the shape that a pipeline takes, such as (1, c, height, width).

    Only this one tensor is read. A missing or broken file, or an id that is not in it, is a UserError.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if id not in file.keys():  # noqa: SIM118 - not a dictionary
                raise UserError(f"{path} holds no noise for prompt '{id}': run `dvc repro noise`")
            return file.get_tensor(id).unsqueeze(0)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro noise` to make it") from None
    except SafetensorError as error:
        raise UserError(f"{path} is broken ({error}): delete it and run `dvc repro noise`") from None
