"""How one image is generated: prompt and stored noise in, 8-bit pixels out. Generation and timing share it."""

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline
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


def place_noise(pipeline: "StableDiffusionPipeline", noise: "torch.Tensor") -> "torch.Tensor":
    """FP32 noise (1, c, h, w) on the pipeline's device, in the dtype in which diffusers would have generated it.

    That is the dtype of the prompt embeddings. The pipeline itself scales it by the scheduler's `init_noise_sigma`.
    """
    return noise.to(device=pipeline.device, dtype=pipeline.text_encoder.dtype)


def generate_image(
    pipeline: "StableDiffusionPipeline",
    variant: str,
    prompt: str,
    noise: "torch.Tensor",
    steps: int,
    guidance_scale: float,
    on_step: "Callable[[torch.Tensor], None] | None" = None,
) -> "Image":
    """The RGB image of `prompt` from FP32 `noise` (1, c, h, w); the safety checker is not asked.

    The steps are those of StableDiffusionPipeline.__call__, split before decoding so that latents and image can be
    looked at. A value in them that is not finite is a UserError: never a black image. `on_step` is given the latents
    (1, c, h, w) after every step; it must not change them.
    """
    import torch

    watched = {} if on_step is None else {"callback_on_step_end": _watching(on_step)}
    latents = pipeline(
        prompt=prompt,
        latents=place_noise(pipeline, noise),
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        output_type="latent",
        **watched,
    ).images
    _check_finite(latents, "denoised latents", variant, prompt)
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    _check_finite(decoded, "decoded image", variant, prompt)
    return pipeline.image_processor.postprocess(decoded, output_type="pil")[0]


def _watching(on_step: "Callable[[torch.Tensor], None]") -> Callable[..., dict]:
    """What diffusers calls after a step; the empty dictionary it answers changes nothing."""

    def watch(_pipeline: object, _step: int, _timestep: object, tensors: dict) -> dict:
        on_step(tensors["latents"])
        return {}

    return watch


def is_flagged(pipeline: "StableDiffusionPipeline", image: "Image") -> bool:
    """What the safety checker says of a finished image. The image is not changed."""
    import numpy as np

    inputs = pipeline.feature_extractor([image], return_tensors="pt").pixel_values
    inputs = inputs.to(device=pipeline.device, dtype=pipeline.text_encoder.dtype)
    # The checker blackens what it is given: a copy.
    _, flagged = pipeline.safety_checker(images=np.array(image)[None], clip_input=inputs)
    return bool(flagged[0])


def _check_finite(values: "torch.Tensor", what: str, variant: str, prompt: str) -> None:
    if not values.isfinite().all():
        raise UserError(
            f"variant '{variant}' gives NaN or infinity in the {what} of prompt '{prompt}': its arithmetic "
            f"({str(values.dtype).removeprefix('torch.')}) is too narrow or its weights are broken; in params.yaml set "
            f"`compute: float32` under variants.{variant}"
        )
