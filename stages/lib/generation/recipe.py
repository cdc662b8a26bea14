"""How the images of a variant are generated: the model, the settings and the stored noise, in any process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.devices import gpus_for_process, use_own_gpu
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.generation.noise import initial_latents, read_noise
from stages.lib.generation.observation import Observation, observing
from stages.lib.generation.safety import Decision, decide
from stages.lib.generation.sampling import generate_image, quiet_safety_checker, use_deterministic_algorithms
from stages.lib.generation.step_latents import Recorder
from stages.lib.models.call_arguments import named_failure
from stages.lib.models.kinds import kind_of
from stages.lib.project.memory import PROCESS_BYTES
from stages.lib.project.params import Variant
from stages.lib.project.prompts import SEED_LIMIT, Prompt
from stages.lib.project.worker_pool import (
    ITEMS_PER_PROCESS,
    MOST_PROCESSES,
    WorkerPool,
    map_in_pool,
    pool_for,
    threads_here,
)

if TYPE_CHECKING:
    import numpy as np
    from diffusers import DiffusionPipeline

OTHER_SEED = 1_000_000
SMALL_BYTES = 2**29  # of a model: Python starts its kernels more slowly than a GPU runs them


def other_seed(seed: int) -> int:
    """Of a prompt's seed, that of its other noise; both from 0 to SEED_LIMIT - 1."""
    return (seed + OTHER_SEED) % SEED_LIMIT


@dataclass(frozen=True)
class Order:
    """One image that is wanted: from the stored noise of the prompt, or from that of another seed."""

    prompt: Prompt
    other_seed: bool = False
    recorded: bool = True


@dataclass(frozen=True)
class Generated:
    """One image: its pixels, uint8 (H, W, 3), the latents after every step, FP32 (steps, ...), if they were to be
    recorded, what the safety checker says, and what was seen meanwhile."""

    id: str
    rgb: "np.ndarray"
    latents: "np.ndarray | None"
    decision: Decision
    seen: Observation


@dataclass(frozen=True)
class Recipe:
    """What does not change between two images of a variant."""

    model: Path
    variant: Variant
    device: str
    noise: Path
    arguments: Mapping[str, Any]  # of the pipeline's call

    def load(self) -> "DiffusionPipeline":
        """The pipeline in this process, deterministic."""
        use_deterministic_algorithms()
        use_own_gpu(self.device)
        quiet_safety_checker()
        return BACKENDS[self.variant.backend].load_module().load(self.model, self.variant, self.device)

    def generate(self, pipeline: "DiffusionPipeline", order: Order) -> Generated:
        """One image; the latents come from the CPU, so that every variant starts from the same ones."""
        import numpy as np

        noise, recorder = read_noise(self.noise, order.prompt.id), Recorder() if order.recorded else None
        seed = order.prompt.seed
        if order.other_seed:
            seed = other_seed(seed)
            noise = initial_latents(tuple(noise.shape[1:]), seed)
        text, denoisers = order.prompt.prompt, kind_of(self.model).of_role("denoiser")
        with named_failure(pipeline, self.arguments), observing(pipeline, denoisers, text, self.arguments) as seen:
            image = generate_image(pipeline, self.variant.name, text, noise, seed, self.arguments, recorder)
        found = None if recorder is None else recorder.stacked()
        return Generated(order.prompt.id, np.asarray(image), found, decide(pipeline, image), seen)

    def generate_all(self, orders: Sequence[Order], pool: WorkerPool) -> Iterator[Generated]:
        """The images in the order of `orders`, by `pool`, few in memory at a time."""
        return map_in_pool(self.load, partial(_generate, self), orders, pool)


def _generate(recipe: Recipe, pipeline: "DiffusionPipeline", order: Order) -> Generated:
    return recipe.generate(pipeline, order)


def gpu_pool(items: int, items_per_process: int = ITEMS_PER_PROCESS, per_gpu: int = 1) -> WorkerPool:
    """`per_gpu` processes for each GPU, as far as there are so many items to do; no byte tells of a CPU's threads."""
    return WorkerPool(max(1, min(per_gpu * gpus_for_process(), items // items_per_process)), 1)


def generation_pool(folder: Path, variant: Variant, device: str, images: int) -> WorkerPool:
    """The processes that generate so many images with the variant in `folder`; see `pool_of_models`."""
    return pool_of_models([loaded_bytes(folder, variant)], device, images)


def pool_of_models(each_bytes: Sequence[float], device: str, images: int) -> WorkerPool:
    """The processes that generate so many images, each with models of these bytes loaded side by side.

    On GPUs it is one each, but a small network leaves a GPU waiting for Python: there it is one for every core, if all
    models are small.
    """
    import psutil

    if device == "cuda":
        small = max(each_bytes) <= SMALL_BYTES
        return gpu_pool(images, per_gpu=min(MOST_PROCESSES, threads_here() // gpus_for_process()) if small else 1)
    return pool_for(images, threads_here(), sum(each_bytes) + 2 * PROCESS_BYTES, psutil.virtual_memory().available)
