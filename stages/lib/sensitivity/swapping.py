"""Generation with every network taken from FP32 or from a format, and looking at what passes between them."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psutil

from stages.lib.formats.shared.devices import use_own_gpu
from stages.lib.generation.noise import read_noise
from stages.lib.generation.recipe import gpu_pool
from stages.lib.generation.sampling import (
    NotFinite,
    generate_image,
    quiet_safety_checker,
    use_deterministic_algorithms,
)
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.calibration import Calls, read_calls
from stages.lib.models.calls import entry_of, split
from stages.lib.models.inventory import disk_bytes
from stages.lib.models.kinds import kind_of
from stages.lib.models.watch import Around, Replay, Watch, around_calls, networks_of
from stages.lib.project.errors import UserError
from stages.lib.project.memory import PROCESS_BYTES
from stages.lib.project.params import Params, Variant
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.project.worker_pool import WorkerPool, pool_for, threads_here

if TYPE_CHECKING:
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline

Networks = Mapping[str, Any]


@dataclass(frozen=True)
class Studio:
    """What both stages that generate with exchanged networks need, in any process."""

    base: Path
    calibration: Path
    noise: Path
    device: str
    arguments: Mapping[str, Any]  # of the pipeline's call
    formats: dict[str, Variant]

    def open(self) -> "Opened":
        """The FP32 pipeline and every format's networks, loaded in this process, deterministic."""
        use_deterministic_algorithms()
        use_own_gpu(self.device)
        quiet_safety_checker()
        inputs = read_calls(self.calibration)
        networks = {
            name: quantized_networks(self.base, variant, inputs, self.device) for name, variant in self.formats.items()
        }
        return Opened(load_pipeline(self.base, self.device), networks)

    def pool(self, images: int) -> WorkerPool:
        """The processes that generate so many images: each holds the FP32 model and every format beside it."""
        if self.device == "cuda":
            return gpu_pool(images, items_per_process=1)
        held_bytes = (1 + len(self.formats)) * sum(disk_bytes(self.base).values()) + 2 * PROCESS_BYTES
        return pool_for(images, threads_here(), held_bytes, psutil.virtual_memory().available, items_per_process=1)


@dataclass(frozen=True)
class Opened:
    """The networks of a Studio, loaded."""

    pipeline: "DiffusionPipeline"
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


@dataclass(frozen=True)
class Run:
    """One image, uint8 (H, W, 3), and what was seen on the way to it.

    `answers`: what each network answered, call by call. `embeddings`: what the pipeline looked at of the first answer
    of each text encoder, flattened. `latents`: after the last step, FP32. `timesteps`: of the step that each call of
    the denoiser belongs to.
    """

    image: "np.ndarray"
    answers: Mapping[str, Sequence[Any]]
    embeddings: "torch.Tensor"
    latents: "torch.Tensor"
    timesteps: Sequence[float]


def generate(
    studio: Studio,
    pipeline: "DiffusionPipeline",
    prompt: Prompt,
    name: str = "FP32",
    swapped: Networks = MappingProxyType({}),
    replayed: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> Run:
    """Generate `prompt` with some networks `swapped` for others, and others' answers `replayed`.

    NaN or infinity is a UserError that names the format `name`.
    """
    return generate_answered(studio, pipeline, prompt, name, _answering(swapped, replayed))


def _answering(swapped: Networks, replayed: Mapping[str, Sequence[Any]]) -> Around:
    replay = Replay(replayed)

    def answer(component: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        return replay(
            component, entry, entry_of(swapped[component], entry) if component in swapped else inner, args, options
        )

    return answer


def generate_answered(studio: Studio, pipeline: "DiffusionPipeline", prompt: Prompt, name: str, around: Around) -> Run:
    """Generate `prompt`; every call of a network goes through `around` (stages.lib.models.watch)."""
    import numpy as np
    import torch

    kind, watch = kind_of(studio.base), Watch(keep=True)
    noise = read_noise(studio.noise, prompt.id)
    try:
        with around_calls(networks_of(pipeline), around), watch.watching(pipeline):
            image = generate_image(pipeline, name, prompt.prompt, noise, prompt.seed, studio.arguments)
    except NotFinite as error:
        raise UserError(
            f"params.yaml: format '{name}' of 'sensitivity.formats' gives NaN or infinity in the {error.what}: remove "
            "it or give it more bits"
        ) from None
    looked_at = []
    for component in kind.of_role("text_encoders"):
        for seen in watch.calls.get(component, []):
            tensors = split(seen.answer)[0] if seen.number == 0 else {}
            looked_at += [tensors[path].flatten().float().cpu() for path in tensors if path in seen.used]
    (denoiser,) = kind.of_role("denoiser")[:1]
    return Run(
        np.asarray(image),
        {component: [seen.answer for seen in calls] for component, calls in watch.calls.items()},
        torch.cat(looked_at) if looked_at else torch.zeros(1),
        watch.latents[-1],
        [watch.timesteps[min(seen.step, len(watch.timesteps) - 1)] for seen in watch.calls[denoiser]],
    )


def checker_input(pipeline: "DiffusionPipeline", image: "np.ndarray") -> "torch.Tensor":
    """A uint8 image (H, W, 3) as the safety checker takes it, (1, 3, h, w)."""
    from PIL import Image

    pixels = pipeline.feature_extractor([Image.fromarray(image)], return_tensors="pt").pixel_values
    return pixels.to(pipeline.device)


def in_window(quantized: Any, window: range, recorded: Sequence[Any], denoiser: str, replayed: Mapping) -> Around:
    """For `around_calls`: `quantized` answers the denoiser's calls of a window, FP32 the others.

    Before the window nothing differs from the recorded FP32 run, whose answers are given again.
    """
    replay, calls = Replay(replayed), count()

    def answer(component: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        if component != denoiser:
            return replay(component, entry, inner, args, options)
        call = next(calls)
        if call < window.start:
            return copy.deepcopy(recorded[call])
        return (entry_of(quantized, entry) if call in window else inner)(*args, **options)

    return answer
