"""How images are generated, one or a batch: prompt and noise in, 8-bit pixels out."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stages.lib.generation.noise import image_generator, initial_latents
from stages.lib.models.call_arguments import named_failure
from stages.lib.models.calls import tensors_in
from stages.lib.models.watch import around_calls, around_steps, networks_of
from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from PIL.Image import Image

    from stages.lib.project.prompts import Prompt


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
    """The RGB image of `prompt` from FP32 `noise` (1, ...); `seed` is that of the noise. See `_call`.

    `on_step` is given the latents (1, ...) after every step; it must not change them.
    """

    def see(latents: "torch.Tensor", _timestep: Any) -> None:
        if on_step is not None:
            on_step(latents)

    with around_steps(pipeline, see):
        return _call(pipeline, variant, [prompt], noise, [seed], "pil", arguments)[0]


def generate_batch(
    pipeline: "DiffusionPipeline",
    variant: str,
    prompts: "Sequence[Prompt]",
    seeds: Sequence[int],
    shape: tuple[int, ...],
    arguments: Mapping[str, Any],
) -> "torch.Tensor":
    """Images, uint8 (n, H, W, 3) on the pipeline's device, of n prompts in one call, each from the noise of its seed.

    `shape` is that of one image's noise, such as (c, h, w). Whatever the pipeline fails with is a UserError; of several
    prompts it says that one at a time may do, as with graphs that were exported for one. See `_call`.
    """
    import torch

    noise, texts = torch.cat([initial_latents(shape, seed) for seed in seeds]), [prompt.prompt for prompt in prompts]
    try:
        with named_failure(pipeline, arguments):
            images = _call(pipeline, variant, texts, noise, seeds, "pt", arguments)
    except UserError as error:
        if len(prompts) == 1 or isinstance(error, NotFinite):
            raise
        raise UserError(
            f"variant '{variant}' does not generate n = {len(prompts)} images in one call; one at a time may do "
            f"(--batch-size 1), else leave the variant out. {error}"
        ) from None
    return (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _call(
    pipeline: "DiffusionPipeline",
    variant: str,
    prompts: Sequence[str],
    noise: "torch.Tensor",
    seeds: Sequence[int],
    output_type: str,
    arguments: Mapping[str, Any],
) -> Any:
    """What the pipeline's own call gives of n prompts, FP32 `noise` (n, ...) and the n `seeds` it was drawn from.

    Each image has a generator that goes on where its noise ended; the safety checker is not asked. What enters and
    leaves the decoder is looked at: a value that is not finite is a UserError, never a black image.
    """
    import torch

    def look(name: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        _check_finite((args, options), "denoised latents", variant, prompts)
        answer = inner(*args, **options)
        _check_finite(answer, "decoded image", variant, prompts)
        return answer

    one = len(prompts) == 1  # graphs are exported from calls of one prompt, which is no list
    generators = [image_generator(tuple(noise.shape[1:]), seed) for seed in seeds]
    torch.manual_seed(seeds[0])  # for what a pipeline draws from no generator
    decoders = {name: part for name, part in networks_of(pipeline).items() if hasattr(part, "decode")}
    with without_checker(pipeline), around_calls(decoders, look):
        return pipeline(
            prompt=prompts[0] if one else list(prompts),
            latents=noise.to(pipeline.device),
            generator=generators[0] if one else generators,
            output_type=output_type,
            **arguments,
        )[0]


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


def _check_finite(values: Any, what: str, variant: str, prompts: Sequence[str]) -> None:
    among = "" if len(prompts) == 1 else f" or one of the n = {len(prompts) - 1} after it"
    for tensor in tensors_in(values):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NotFinite(
                f"variant '{variant}' gives NaN or infinity in the {what} of prompt '{prompts[0]}'{among}: its "
                f"arithmetic ({str(tensor.dtype).removeprefix('torch.')}) is too narrow or its weights are broken; in "
                f"params.yaml set `compute: float32` under variants.{variant}",
                what,
            )
