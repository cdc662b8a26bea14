"""The model as diffusers itself loads it: what the project's own loading is compared with."""

from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from stages.calibrate import collect
from stages.lib.formats.shared.availability import installed_version
from stages.lib.models.calls import NetworkCall
from stages.lib.project.params import Variant
from stages.lib.project.prompts import Prompt

COMPONENTS = ("unet", "vae", "text_encoder", "safety_checker")  # of the tiny model, in the order of the records


def reference_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of `folder` in FP32 on the CPU, from safetensors alone."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@cache
def calibration_of(folder: Path, steps: int = 2, denoiser_calls: int = 3) -> dict[str, list[NetworkCall]]:
    """What the networks of `folder` are given while it generates one image; found once, not to be changed."""
    prompt = Prompt(id="dog", prompt="a dog", kind="animal", complexity="low", seed=7, set="calibration")
    arguments = {"num_inference_steps": steps, "guidance_scale": 7.5}
    return collect(reference_pipeline(folder), [prompt], arguments, denoiser_calls, 0)


def generated(pipeline: StableDiffusionPipeline) -> torch.Tensor:
    """What any pipeline generates in two steps from one fixed noise: an image (1, 3, H, W), FP32."""
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    pipeline.set_progress_bar_config(disable=True)
    latents = pipeline("a cat", latents=noise, num_inference_steps=2, output_type="latent").images
    assert latents.dtype == torch.float32
    with torch.no_grad():
        return pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]


def missing_packages(variant: Variant) -> list[str]:
    """What the back end of `variant` needs and is not installed."""
    return [name for name in variant.packages if installed_version(name) is None]


def skip_without_packages(variant: Variant) -> None:
    """Skip the test where what the back end of `variant` needs is not installed."""
    if missing := missing_packages(variant):
        pytest.skip(f"the package is optional: {', '.join(missing)}")
