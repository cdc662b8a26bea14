"""A loaded model that is timed: one image as a user generates it, its networks one by one, what it multiplies in.

An image that would take too long is not generated to its end: after a few steps the others are left out, and each is
taken to last as long as the last TIMED_STEPS of those. The first image decides it for all.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.memory import PeakMeter
from stages.lib.project.params import load_params
from stages.lib.timing.disturbance import DisturbanceMeter

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

# Images, and steps of each, in which multiplications are counted and timed one by one.
COUNTED_IMAGES, COUNTED_STEPS = 2, 2
TIMED_STEPS = 2


@dataclass(frozen=True)
class Task:
    """What one worker loads and generates. `threads` is what PyTorch may use on the CPU."""

    variant: str
    folder: str
    device: str
    threads: int
    prompt: str
    prompt_id: str
    seed: int
    noise: str
    longest_image_s: float
    arguments: dict[str, Any] | None = None  # of the pipeline's call; None: as params.yaml says

    def as_line(self) -> str:
        """The line that starts the work."""
        return json.dumps(asdict(self))


@dataclass
class TimedModel:
    """A loaded model and what it generates with."""

    task: Task
    pipeline: "DiffusionPipeline"
    noise: "torch.Tensor"
    meter: PeakMeter
    denoisers: tuple[str, ...]
    # The first holds what is done only once; steps with a schedule of their own are not like the rest.
    sampled_steps: int = 1 + TIMED_STEPS
    is_long: bool | None = None  # known after the first image
    steps: int = 0  # of the scheduler in an image, known then too

    def call(self, size: int = 1) -> dict[str, Any]:
        """Generate one image as a user does: text encoding, denoising, decoding, safety check; no PNG.

        With `size`, as many at once, all of them the same. `latency_s` is the time, extrapolated to all denoising steps
        if fewer were made; `measured_s` is what was measured.
        """
        ends_s: list[float] = []
        with self._cut_short(ends_s):
            meter = DisturbanceMeter(self.task.threads)
            begin_s = self._now_s()
            image = self._generate(size, self.task.arguments)
            measured_s = self._now_s() - begin_s
            disturbance = meter.read()
        self.is_long = bool(self.is_long)
        steps = self.steps or len(self.pipeline.scheduler.timesteps)  # some also list the time at which the last ends
        made = self.sampled_steps if self.is_long else steps
        rest_s = (steps - made) * _step_s(ends_s) if self.is_long else 0.0
        if not image.isfinite().all():
            raise UserError(
                f"variant '{self.task.variant}' gives NaN in the image of prompt '{self.task.prompt}': in "
                f"params.yaml set `compute: float32` under variants.{self.task.variant}"
            )
        return {
            "latency_s": measured_s + rest_s,
            "measured_s": measured_s,
            "disturbance": disturbance.as_json(),
            "denoiser_steps": steps,
            "denoiser_steps_made": made,
            "height": image.shape[2],
            "width": image.shape[3],
        }

    @contextmanager
    def _cut_short(self, ends_s: list[float]) -> Iterator[None]:
        """Within the block, an image that would take too long has its denoiser answer again what it answered last.

        `ends_s` gets when each sampled step ended.
        """
        from stages.lib.models.watch import around_calls, around_steps, networks_of

        if self.is_long is False:
            yield
            return
        last: dict[tuple[str, str], Any] = {}
        self.steps = 0

        def answer(name: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
            if not (self.is_long and len(ends_s) >= self.sampled_steps):
                last[name, entry] = inner(*args, **options)
            return last[name, entry]

        def see(_latents: Any, _timestep: Any) -> None:
            self.steps += 1
            if len(ends_s) < self.sampled_steps:
                ends_s.append(self._now_s())
                steps = len(self.pipeline.scheduler.timesteps)
                if self.is_long is None and len(ends_s) == self.sampled_steps < steps:
                    self.is_long = steps * _step_s(ends_s) > self.task.longest_image_s

        networks = networks_of(self.pipeline)
        denoisers = {name: networks[name] for name in self.denoisers}
        with around_calls(denoisers, answer), around_steps(self.pipeline, see):
            yield

    def _generate(self, size: int, arguments: dict[str, Any]) -> "torch.Tensor":
        from stages.lib.generation.noise import image_generator

        shape = tuple(self.noise.shape[1:])
        generators = [image_generator(shape, self.task.seed) for _ in range(size)]
        return self.pipeline(
            prompt=[self.task.prompt] * size,
            latents=self.noise.repeat(size, *[1] * len(shape)),
            generator=generators if size > 1 else generators[0],
            output_type="pt",
            **arguments,
        )[0]

    def peak(self) -> dict[str, Any]:
        """The highest memory use since the model was loaded."""
        return {"peak_mib": self.meter.peak_mib(), "kind": self.meter.kind, "method": self.meter.method}

    def components(self) -> dict[str, Any]:
        """Generate one image with a clock around each network; seconds of each call, and `other`: the rest, once."""
        from stages.lib.models.watch import Watch, networks_of

        watch = Watch(now_s=self._now_s)
        with watch.watching(self.pipeline):
            call = self.call()
        called = [name for name in networks_of(self.pipeline) if name in watch.calls]
        times_s: dict[str, list[float]] = {name: [] for name in called}
        for name, samples in times_s.items():
            for _, parts in groupby(watch.calls[name], key=lambda seen: seen.number):
                samples.append(sum(seen.time_s for seen in parts))
        times_s["other"] = [call["measured_s"] - sum(sum(samples) for samples in times_s.values())]
        whole = call["denoiser_steps"] / call["denoiser_steps_made"]
        calls = {name: round(len(samples) * whole) for name, samples in times_s.items() if name in self.denoisers}
        return {"times_s": times_s, "calls_per_image": calls}

    def executed(self) -> dict[str, Any]:
        """What one call of each network multiplies in, and how long that takes, as rows of `ExecutedWork`."""
        from stages.lib.formats.shared.choice import on_model
        from stages.lib.formats.shared.graphs.shaped_graph import graphs_of
        from stages.lib.models.watch import networks_of
        from stages.lib.timing.work_counter import WorkCounter

        counter = WorkCounter(self._now_s)
        few = min(COUNTED_STEPS, self.task.arguments.get("num_inference_steps", COUNTED_STEPS))
        graphs = [graph for network in networks_of(self.pipeline).values() for graph in graphs_of(network).values()]
        for graph in graphs:
            graph.calls.clear()  # of several images at once
        with counter.watching(self.pipeline):
            for _ in range(COUNTED_IMAGES):
                self._generate(1, self.task.arguments | {"num_inference_steps": few})
        rows = counter.rows()
        variant = load_params().variant(self.task.variant)
        backend = BACKENDS[variant.backend].load_module()
        if hasattr(backend, "executed_work"):
            components = on_model(variant, Path(self.task.folder)).components
            rows += [ExecutedWork(**row) for row in backend.executed_work(self.pipeline, components)]
        unseen = [name for name in counter.called if name not in {row.component for row in rows}]
        if unseen:
            raise ValueError(f"back end '{variant.backend}': no multiplication was seen in {', '.join(unseen)}")
        return {"rows": [row.as_json() for row in rows]}

    def batch(self, size: int) -> dict[str, Any]:
        """Generate `size` images at once; the time of all together, and the highest memory use meanwhile."""
        self.meter.reset()
        return {"latency_s": self.call(size)["latency_s"], **self.peak()}

    def _now_s(self) -> float:
        """The time when the device has done everything it was asked to do."""
        if self.task.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


def _step_s(ends_s: list[float]) -> float:
    """Seconds of one step, the mean of the last TIMED_STEPS, from the times at which the sampled steps ended."""
    return (ends_s[-1] - ends_s[-1 - TIMED_STEPS]) / TIMED_STEPS


def load(task: Task, meter: PeakMeter) -> tuple[TimedModel, dict[str, Any]]:
    """The model ready to generate, and the highest memory use so far. `meter` has counted since the restart began."""
    import torch

    from stages.lib.generation.noise import read_noise
    from stages.lib.generation.sampling import quiet_safety_checker, use_exact_float32

    params = load_params()
    variant = params.variant(task.variant)
    backend = BACKENDS[variant.backend].load_module()
    torch.set_num_threads(task.threads)
    use_exact_float32()
    quiet_safety_checker()
    pipeline = backend.load(Path(task.folder), variant, task.device)
    noise = read_noise(Path(task.noise), task.prompt_id).to(pipeline.device)
    if task.device == "cuda":
        torch.cuda.synchronize()
    answer = {"load_peak_mib": meter.peak_mib()}
    meter.reset()
    sampled_steps = 1 + len(variant.call_precisions) + TIMED_STEPS
    denoisers = kind_of(Path(task.folder)).of_role("denoiser")
    if task.arguments is None:
        task = replace(task, arguments=arguments_of(params, type(pipeline)))
    return TimedModel(task, pipeline, noise, meter, denoisers, sampled_steps), answer
