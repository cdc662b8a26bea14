"""A fresh process that times one variant, one call at a time, whenever its parent asks.

An image that would take too long is not generated to its end: after a few steps the others are left out, and each is
taken to last as long as the last TIMED_STEPS of those. The first image decides it for all.

Both ways, one line is one JSON object. The parent first sends the fields of `Task`; the answer comes when libraries
are imported. Then it sends {"do": "load"}, whose answer comes when the model is ready to generate, and {"do": "call"},
{"do": "peak"}, {"do": "components"}, {"do": "batch", "size": 8} or {"do": "executed"}. A mistake of the user is
answered with {"error": message}. When the parent goes, this process ends at once, also in the middle of a call.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.project.errors import UserError
from stages.lib.project.memory import CudaMeter, PeakMeter, process_meter
from stages.lib.project.params import COMPONENTS, load_params

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline

# Images, and steps of each, in which multiplications are counted and timed one by one.
COUNTED_IMAGES, COUNTED_STEPS = 3, 2


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
    noise: str
    steps: int
    guidance_scale: float
    longest_image_s: float

    def as_line(self) -> str:
        """The line that starts the work."""
        return json.dumps(asdict(self))


@dataclass
class Worker:
    """A loaded model and what it generates with."""

    task: Task
    pipeline: "StableDiffusionPipeline"
    latents: "torch.Tensor"
    meter: PeakMeter
    # The first holds what is done only once; steps with a schedule of their own are not like the rest.
    sampled_steps: int = 1 + TIMED_STEPS
    is_long: bool | None = None  # known after the first image

    def call(self, size: int = 1) -> dict[str, Any]:
        """Generate one image as a user does: text encoding, denoising, decoding, safety check; no PNG.

        With `size`, as many at once, all of them the same. `latency_s` is the time, extrapolated to all U-Net calls if
        fewer were made; `measured_s` is what was measured.
        """
        ends_s: list[float] = []
        begin_s = self._now_s()
        image = self._generate(
            self.task.steps,
            size,
            callback_on_step_end=None if self.is_long is False else self._stop_if_long(ends_s),
            callback_on_step_end_tensor_inputs=[],
        )
        measured_s = self._now_s() - begin_s
        self.is_long = bool(self.is_long)
        calls = len(self.pipeline.scheduler.timesteps)
        made = self.sampled_steps if self.is_long else calls
        rest_s = (calls - made) * _step_s(ends_s) if self.is_long else 0.0
        if not image.isfinite().all():
            raise UserError(
                f"variant '{self.task.variant}' gives NaN in the image of prompt '{self.task.prompt}': in "
                f"params.yaml set `compute: float32` under variants.{self.task.variant}"
            )
        return {
            "latency_s": measured_s + rest_s,
            "measured_s": measured_s,
            "unet_calls": calls,
            "unet_calls_made": made,
            "height": image.shape[2],
            "width": image.shape[3],
        }

    def _stop_if_long(self, ends_s: list[float]) -> Callable[..., dict]:
        """What the pipeline calls after each step: leave out the other steps of an image that would take too long."""

        def look(pipeline: Any, step: int, timestep: Any, tensors: dict) -> dict:
            if step >= self.sampled_steps:
                return tensors
            ends_s.append(self._now_s())
            calls = len(pipeline.scheduler.timesteps)
            if step == self.sampled_steps - 1 < calls - 1:
                if self.is_long is None:
                    self.is_long = calls * _step_s(ends_s) > self.task.longest_image_s
                pipeline._interrupt = self.is_long
            return tensors

        return look

    def _generate(self, steps: int, size: int = 1, **options: Any) -> "torch.Tensor":
        return self.pipeline(
            prompt=[self.task.prompt] * size,
            latents=self.latents.repeat(size, 1, 1, 1),
            num_inference_steps=steps,
            guidance_scale=self.task.guidance_scale,
            output_type="pt",
            **options,
        ).images

    def peak(self) -> dict[str, Any]:
        """The highest memory use since the model was loaded."""
        return {"peak_mib": self.meter.peak_mib(), "kind": self.meter.kind, "method": self.meter.method}

    def components(self) -> dict[str, Any]:
        """Generate one image with a clock around each network; seconds of each call, and `other`: the rest, once."""
        times_s: dict[str, list[float]] = {}
        with ExitStack() as stack:
            for name, owner, method in (
                ("text_encoder", self.pipeline.text_encoder, "forward"),
                ("unet_step", self.pipeline.unet, "forward"),
                ("vae_decode", self.pipeline.vae, "decode"),
                ("safety_checker", self.pipeline, "run_safety_checker"),
            ):
                stack.enter_context(self._clocked(owner, method, times_s.setdefault(name, [])))
            call = self.call()
        times_s["other"] = [call["measured_s"] - sum(sum(samples) for samples in times_s.values())]
        return {"times_s": times_s, "unet_calls": call["unet_calls"]}

    def executed(self) -> dict[str, Any]:
        """What one call of each network multiplies in, and how long that takes, as rows of `ExecutedWork`."""
        from stages.lib.timing.work_counter import WorkCounter

        counter = WorkCounter(self._now_s)
        with counter.watching(self.pipeline):
            for _ in range(COUNTED_IMAGES):
                self._generate(min(COUNTED_STEPS, self.task.steps))
        rows = counter.rows()
        variant = load_params().variant(self.task.variant)
        backend = BACKENDS[variant.backend].load_module()
        if hasattr(backend, "executed_work"):
            rows += [ExecutedWork(**row) for row in backend.executed_work(Path(self.task.folder), variant)]
        unseen = [component for component in COMPONENTS if component not in {row.component for row in rows}]
        if unseen:
            raise ValueError(f"back end '{variant.backend}': no multiplication was seen in {', '.join(unseen)}")
        return {"rows": [row.as_json() for row in rows]}

    def batch(self, size: int) -> dict[str, Any]:
        """Generate `size` images at once; the time of all together, and the highest memory use meanwhile."""
        self.meter.reset()
        return {"latency_s": self.call(size)["latency_s"], **self.peak()}

    @contextmanager
    def _clocked(self, owner: Any, method: str, samples_s: list[float]) -> Iterator[None]:
        """Within the block, append to `samples_s` how long each call of the method of `owner` takes."""
        inner, own = getattr(owner, method), method in vars(owner)

        def clocked(*arguments: Any, **options: Any) -> Any:
            begin_s = self._now_s()
            answer = inner(*arguments, **options)
            samples_s.append(self._now_s() - begin_s)
            return answer

        setattr(owner, method, clocked)
        try:
            yield
        finally:
            setattr(owner, method, inner) if own else delattr(owner, method)

    def _now_s(self) -> float:
        """The time when the device has done everything it was asked to do."""
        if self.task.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


def _step_s(ends_s: list[float]) -> float:
    """Seconds of one step, the mean of the last TIMED_STEPS, from the times at which the sampled steps ended."""
    return (ends_s[-1] - ends_s[-1 - TIMED_STEPS]) / TIMED_STEPS


def import_libraries(task: Task) -> None:
    """Import what loading and generation need, so that the time of loading is the model's own."""
    from diffusers import StableDiffusionPipeline  # noqa: F401

    from stages.lib.generation import noise, sampling  # noqa: F401

    BACKENDS[load_params().variant(task.variant).backend].load_module()


def load(task: Task, meter: PeakMeter) -> tuple[Worker, dict[str, Any]]:
    """The worker ready to generate, and the highest memory use so far. `meter` has counted since the process began."""
    import torch

    from stages.lib.generation.noise import read_noise
    from stages.lib.generation.sampling import place_noise, quiet_safety_checker, use_exact_float32

    variant = load_params().variant(task.variant)
    backend = BACKENDS[variant.backend].load_module()
    torch.set_num_threads(task.threads)
    use_exact_float32()
    quiet_safety_checker()
    pipeline = backend.load(Path(task.folder), variant, task.device)
    latents = place_noise(pipeline, read_noise(Path(task.noise), task.prompt_id))
    if task.device == "cuda":
        torch.cuda.synchronize()
    answer = {"load_peak_mib": meter.peak_mib()}
    meter.reset()
    return Worker(task, pipeline, latents, meter, 1 + len(variant.call_precisions) + TIMED_STEPS), answer


def main() -> None:
    """Answer requests until the parent closes its end."""
    # Whatever a library prints must not mix with the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        try:
            _serve(_requests(), answers)
        except UserError as error:
            _answer(answers, {"error": str(error)})
            sys.exit(1)


def _serve(requests: Iterator[bytes], answers: TextIO) -> None:
    task = Task(**json.loads(next(requests)))
    meter = CudaMeter() if task.device == "cuda" else process_meter()
    import_libraries(task)
    _answer(answers, {})
    next(requests)  # "load" is the only thing to do without a model
    worker, loaded = load(task, meter)
    _answer(answers, loaded)
    actions: dict[str, Callable[..., dict]] = {
        "call": worker.call,
        "peak": worker.peak,
        "components": worker.components,
        "executed": worker.executed,
        "batch": worker.batch,
    }
    for request in requests:
        options = json.loads(request)
        _answer(answers, actions[options.pop("do")](**options))


def _requests() -> Iterator[bytes]:
    """The lines of standard input, read by a thread that ends the process when there are no more."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        # Unbuffered: a thread that waits inside sys.stdin holds a lock that Python's exit needs.
        with open(0, "rb", buffering=0, closefd=False) as stream:
            for line in stream:
                lines.put(line)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
