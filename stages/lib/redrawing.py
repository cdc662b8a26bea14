"""Drawing some of the baseline's pictures again: another run, thread count, process count or seed."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stages.lib.backends import BACKENDS
from stages.lib.drawing import draw_picture, use_deterministic_algorithms
from stages.lib.noise import initial_latents, read_noise
from stages.lib.params import Generation, Variant
from stages.lib.prompts import SEED_LIMIT, Prompt
from stages.lib.trajectory import Recorder

if TYPE_CHECKING:
    import numpy as np
    from diffusers import StableDiffusionPipeline

OTHER_SEED = 1_000_000  # added to a prompt's seed
Item = TypeVar("Item")


@dataclass(frozen=True)
class Drawn:
    """One picture: its pixels, uint8 (H, W, 3), and the latents after every step, FP32 (steps, c, h, w)."""

    id: str
    rgb: "np.ndarray"
    latents: "np.ndarray"


@dataclass(frozen=True)
class Recipe:
    """What does not change between two drawings of the baseline."""

    model: Path
    variant: Variant
    device: str
    noise: Path
    generation: Generation

    def load(self) -> "StableDiffusionPipeline":
        """The pipeline in this process, deterministic as in `generate`."""
        use_deterministic_algorithms()
        return BACKENDS[self.variant.backend].load_module().load(self.model, self.variant, self.device)

    def draw(self, pipeline: "StableDiffusionPipeline", prompts: list[Prompt], other_seed: bool = False) -> list[Drawn]:
        """The pictures of `prompts`, from their stored noise or from that of another seed."""
        import numpy as np
        import torch

        found = []
        for prompt in prompts:
            latents, recorder = read_noise(self.noise, prompt.id), Recorder()
            if other_seed:
                latents = initial_latents(tuple(latents.shape[1:]), (prompt.seed + OTHER_SEED) % SEED_LIMIT)
            picture = draw_picture(
                pipeline,
                self.variant.name,
                prompt.prompt,
                latents,
                self.generation.steps,
                self.generation.guidance_scale,
                recorder,
            )
            found.append(Drawn(prompt.id, np.asarray(picture), torch.stack(recorder.steps).numpy()))
        return found


def draw_in_processes(recipe: Recipe, prompts: list[Prompt], processes: int, threads: int) -> list[Drawn]:
    """`prompts` dealt to fresh processes that draw at the same time, with `threads` threads each; in order of ids."""
    shares = [share for share in (prompts[start::processes] for start in range(processes)) if share]
    with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_draw_share, recipe, share, threads) for share in shares]
        found = {drawn.id: drawn for part in parts for drawn in part.result()}
    return [found[prompt.id] for prompt in prompts]


def _draw_share(recipe: Recipe, prompts: list[Prompt], threads: int) -> list[Drawn]:
    import torch

    torch.set_num_threads(threads)
    return recipe.draw(recipe.load(), prompts)


def other_thread_count(threads: int) -> int:
    """Half as many threads; two in place of one."""
    return threads // 2 if threads > 1 else 2


def sample_of(items: Sequence[Item], count: int, first: int = 0) -> list[Item]:
    """`count` of the items (or all there are): the `first` ones, then some spread evenly over the others."""
    head, rest = list(items[: min(first, count)]), items[min(first, count) :]
    wanted = min(count - len(head), len(rest))
    return head + [rest[(2 * number + 1) * len(rest) // (2 * wanted)] for number in range(wanted)]
