"""The model as diffusers itself loads it: what the project's own loading is compared with."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline


def reference_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of `folder` in FP32 on the CPU, from safetensors alone."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
