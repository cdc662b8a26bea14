"""Generation with every network taken from FP32 or from a format, and looking at what passes between them."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from stages.lib.generation.sampling import quiet_safety_checker, use_deterministic_algorithms
from stages.lib.models.calibration import Calls, read_calls
from stages.lib.models.components import load_pipeline
from stages.lib.models.inventory import disk_bytes
from stages.lib.models.watch import networks_of
from stages.lib.project.errors import UserError
from stages.lib.project.memory import PROCESS_BYTES
from stages.lib.project.params import Params, Variant
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.project.sections import Generation
from stages.lib.project.worker_pool import WorkerPool, pool_for, threads_here

if TYPE_CHECKING:
    import numpy as np
    import torch
    from diffusers import StableDiffusionPipeline

Networks = Mapping[str, Any]


@dataclass(frozen=True)
class Embeddings:
    """A prompt as the U-Net sees it, (1, tokens, width) each; `negative` is None without guidance."""

    prompt: "torch.Tensor"
    negative: "torch.Tensor | None"


@dataclass(frozen=True)
class Studio:
    """What both stages that generate with exchanged networks need, in any process."""

    base: Path
    calibration: Path
    noise: Path
    device: str
    generation: Generation
    formats: dict[str, Variant]

    def open(self) -> "Opened":
        """The FP32 pipeline and every format's networks, loaded in this process, deterministic."""
        use_deterministic_algorithms()
        quiet_safety_checker()
        inputs = read_calls(self.calibration)
        networks = {
            name: quantized_networks(self.base, variant, inputs, self.device) for name, variant in self.formats.items()
        }
        return Opened(load_pipeline(self.base, self.device), networks)

    def pool(self, images: int) -> WorkerPool:
        """The processes that generate so many images: each holds the FP32 model and every format beside it."""
        if self.device != "cpu":
            return WorkerPool(1, threads_here())
        held_bytes = (1 + len(self.formats)) * sum(disk_bytes(self.base).values()) + 2 * PROCESS_BYTES
        return pool_for(images, threads_here(), held_bytes, psutil.virtual_memory().available, items_per_process=1)


@dataclass(frozen=True)
class Opened:
    """The networks of a Studio, loaded."""

    pipeline: "StableDiffusionPipeline"
    networks: Mapping[str, Networks]


def sensitivity_prompts(params: Params) -> list[Prompt]:
    """The first `sensitivity.images` of the prompts, or all if there are fewer."""
    return load_prompts(Path(params.prompts.file), params.prompts.sets)[: params.sensitivity.images]


def quantized_networks(base: Path, variant: Variant, calibration: Calls, device: str) -> Networks:
    """Every component as the back end `torch` makes and loads it for `variant`."""
    from stages.lib.formats.torch import backend

    with tempfile.TemporaryDirectory() as folder:
        backend.quantize(base, variant, Path(folder), calibration)
        pipeline = backend.load(Path(folder), variant, device)
    return networks_of(pipeline)


def encode(pipeline: "StableDiffusionPipeline", text_encoder: Any, prompt: str, guided: bool) -> Embeddings:
    """What `text_encoder` makes of `prompt`, and of no prompt if `guided`."""
    import torch

    pipeline.text_encoder = text_encoder
    with torch.no_grad():
        text, negative = pipeline.encode_prompt(prompt, pipeline.device, 1, guided)
    return Embeddings(text, negative if guided else None)


def denoise(
    pipeline: "StableDiffusionPipeline",
    unet: Any,
    embeddings: Embeddings,
    noise: "torch.Tensor",
    steps: int,
    guidance_scale: float,
    name: str,
) -> "torch.Tensor":
    """Latents (1, c, h, w) that `unet` makes of FP32 `noise` of that shape; a UserError if `name` breaks them."""
    pipeline.unet = unet
    latents = pipeline(
        prompt_embeds=embeddings.prompt,
        negative_prompt_embeds=embeddings.negative,
        latents=noise.to(pipeline.device),
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        output_type="latent",
    ).images
    return _finite(latents, "denoised latents", name)


def decode(pipeline: "StableDiffusionPipeline", vae: Any, latents: "torch.Tensor", name: str) -> "np.ndarray":
    """The image, uint8 (H, W, 3), that `vae` makes of latents (1, c, h, w); a UserError if `name` breaks it."""
    import numpy as np
    import torch

    with torch.no_grad():
        decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    _finite(decoded, "decoded image", name)
    return np.asarray(pipeline.image_processor.postprocess(decoded, output_type="pil")[0])


def _finite(values: "torch.Tensor", what: str, name: str) -> "torch.Tensor":
    if not values.isfinite().all():
        raise UserError(
            f"params.yaml: format '{name}' of 'sensitivity.formats' gives NaN or infinity in the {what}: remove it "
            "or give it more bits"
        )
    return values


def checker_input(pipeline: "StableDiffusionPipeline", image: "np.ndarray") -> "torch.Tensor":
    """A uint8 image (H, W, 3) as the safety checker takes it, (1, 3, h, w)."""
    from PIL import Image

    pixels = pipeline.feature_extractor([Image.fromarray(image)], return_tensors="pt").pixel_values
    return pixels.to(pipeline.device)


class Recorder:
    """Stands in for a U-Net and keeps what it answers, call by call."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.answers: list[torch.Tensor] = []
        self.timesteps: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unet, name)

    def __call__(self, sample: "torch.Tensor", timestep: "torch.Tensor", **options: Any) -> Any:
        answer = self.unet(sample, timestep, **options)
        self.answers.append(answer[0])
        self.timesteps.append(int(timestep))
        return answer


class Switching:
    """Stands in for a U-Net: `quantized` answers the calls of a window, `unet` the others.

    Before the window nothing differs from the recorded FP32 run, whose answers are given again.
    """

    def __init__(self, unet: Any, quantized: Any, window: range, recorded: Sequence["torch.Tensor"]) -> None:
        self.unet, self.quantized, self.window, self.recorded = unet, quantized, window, recorded
        self.call = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unet, name)

    def __call__(self, sample: "torch.Tensor", timestep: "torch.Tensor", **options: Any) -> Any:
        call, self.call = self.call, self.call + 1
        if call < self.window.start:
            return (self.recorded[call],)
        network: Callable[..., Any] = self.quantized if call in self.window else self.unet
        return network(sample, timestep, **options)
