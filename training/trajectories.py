"""What a model meets and answers while it generates, and how much of an error in each call reaches its images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

from training.settings import Settings

BATCH = 64  # prompts that are generated at a time
GAIN_PROMPTS = 32
# Of the error that rounding makes: small enough for the finished latents to answer in proportion.
DISTURBANCE = 0.1


@dataclass(frozen=True)
class Model:
    """A pipeline's networks as functions: FP32, or a student's."""

    text_encoder: Callable[[torch.Tensor], torch.Tensor]
    unet: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

    def guided(self, noisy: torch.Tensor, time: torch.Tensor, ids: torch.Tensor, scale: float) -> torch.Tensor:
        """Guided predictions (b, 4, h, w) of noisy latents at times (b,); token ids (2 b, n), the empty ones first."""
        states = self.text_encoder(ids)
        first, second = self.unet(torch.cat([noisy, noisy]), time.repeat(2), states).float().chunk(2)
        return first + scale * (second - first)


def teacher_of(pipeline: DiffusionPipeline) -> Model:
    return Model(
        lambda ids: pipeline.text_encoder(ids)[0],
        lambda noisy, time, states: pipeline.unet(noisy, time, states, return_dict=False)[0],
    )


@dataclass(frozen=True)
class Trajectories:
    """What a model met and answered: noisy latents and guided predictions, both (calls, prompts, 4, h, w)."""

    times: torch.Tensor
    noisy: torch.Tensor
    guided: torch.Tensor
    finished: torch.Tensor


@torch.no_grad()
def trajectories(
    model: Model,
    pipeline: DiffusionPipeline,
    ids: torch.Tensor,
    start: torch.Tensor,
    values: Settings,
    added: dict[int, torch.Tensor] | None = None,
) -> Trajectories:
    """Sampling with the pipeline's scheduler; `ids` (2, prompts, n). `added` disturbs predictions, by call."""
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(values.evaluate.inference_steps)
    times = scheduler.timesteps.to(start.device)
    latents = start * scheduler.init_noise_sigma
    noisy, guided = [], []
    for call, moment in enumerate(times):
        noisy.append(latents)
        guided.append(
            torch.cat(
                [
                    model.guided(part, moment.expand(len(part)), own.flatten(0, 1), values.evaluate.guidance_scale)
                    for part, own in zip(latents.split(BATCH), ids.split(BATCH, dim=1), strict=True)
                ]
            )
        )
        if added and call in added:
            guided[-1] = guided[-1] + added[call]
        latents = scheduler.step(guided[-1], moment, latents, return_dict=False)[0]
    return Trajectories(times, torch.stack(noisy), torch.stack(guided), latents)


@torch.no_grad()
def gains(
    teacher: Model, student: Model, pipeline: DiffusionPipeline, ids: torch.Tensor, met: Trajectories, values: Settings
) -> torch.Tensor:
    """Of each call: squared error of the finished latents over that of the guided prediction which causes it."""
    found = []
    count = min(GAIN_PROMPTS, ids.shape[1])
    ids = ids[:, :count]
    for call, moment in enumerate(met.times):
        noisy = met.noisy[call, :count]
        answer = student.guided(noisy, moment.expand(count), ids.flatten(0, 1), values.evaluate.guidance_scale)
        error = DISTURBANCE * (answer - met.guided[call, :count])
        start = met.noisy[0, :count] / pipeline.scheduler.init_noise_sigma
        other = trajectories(teacher, pipeline, ids, start, values, {call: error})
        found.append((other.finished - met.finished[:count]).square().mean() / error.square().mean())
    return torch.stack(found)


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of FP32 without TF32, as in the pipeline that is measured later."""
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = False
    try:
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            kind.allow_tf32 = value
