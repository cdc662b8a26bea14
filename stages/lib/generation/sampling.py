"""How one image is generated: prompt and stored noise in, 8-bit pixels out. Generation and timing share it."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stages.lib.generation.noise import image_generator
from stages.lib.models.calls import tensors_in
from stages.lib.models.watch import around_calls, around_steps, networks_of
from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from PIL.Image import Image


def use_exact_float32() -> None:
    """Make float32 mean float32: without TF32, which CUDA's convolutions otherwise use."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def use_deterministic_algorithms() -> None:
    """Make every operation give the same bits each time; one that cannot do so raises RuntimeError.

    To be called before CUDA is used: cuBLAS reads its workspace setting once.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch

    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # for finding what reads it; nothing here does
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    use_exact_float32()


def quiet_safety_checker() -> None:
    """Stop the warning that a black image will be returned: here the checker's decision changes no image."""
    logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)


class NotFinite(UserError):
    """NaN or infinity came out; `what` says where."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def generate_image(
    pipeline: "DiffusionPipeline",
    variant: str,
    prompt: str,
    noise: "torch.Tensor",
    seed: int,
    arguments: Mapping[str, Any],
    on_step: "Callable[[torch.Tensor], None] | None" = None,
) -> "Image":
    """The RGB image of `prompt` from FP32 `noise` (1, ...); the safety checker is not asked.

    The pipeline's own call with `arguments`, and with a generator that goes on where the noise ended; `seed` is that of
    both. What enters and leaves the decoder is looked at: a value that is not finite is a UserError, never a black
    image. `on_step` is given the latents (1, ...) after every step; it must not change them.
    """
    import torch

    def look(name: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        _check_finite((args, options), "denoised latents", variant, prompt)
        answer = inner(*args, **options)
        _check_finite(answer, "decoded image", variant, prompt)
        return answer

    def see(latents: "torch.Tensor", _timestep: Any) -> None:
        if on_step is not None:
            on_step(latents)

    torch.manual_seed(seed)  # for what a pipeline draws from no generator
    decoders = {name: part for name, part in networks_of(pipeline).items() if hasattr(part, "decode")}
    with without_checker(pipeline), around_calls(decoders, look), around_steps(pipeline, see):
        return pipeline(
            prompt=prompt,
            latents=noise.to(pipeline.device),
            generator=image_generator(tuple(noise.shape[1:]), seed),
            output_type="pil",
            **arguments,
        )[0][0]


@contextmanager
def without_checker(pipeline: "DiffusionPipeline") -> Iterator[None]:
    """Until the block ends, the pipeline has no safety checker, which would blacken images."""
    checker = vars(pipeline).get("safety_checker")
    if checker is not None:
        vars(pipeline)["safety_checker"] = None
    try:
        yield
    finally:
        if checker is not None:
            vars(pipeline)["safety_checker"] = checker


def _check_finite(values: Any, what: str, variant: str, prompt: str) -> None:
    for tensor in tensors_in(values):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NotFinite(
                f"variant '{variant}' gives NaN or infinity in the {what} of prompt '{prompt}': its arithmetic "
                f"({str(tensor.dtype).removeprefix('torch.')}) is too narrow or its weights are broken; in params.yaml "
                f"set `compute: float32` under variants.{variant}",
                what,
            )
