"""Weaken what a caption does, so that the pipeline's guidance scale is the right one for this model.

Drawn scenes follow their captions exactly, and a network that learned this needs a guidance scale of 1.5 to 3; at 7.5,
made for networks whose captions say little, colours burn and shapes break. As in guidance distillation
(https://arxiv.org/abs/2210.03142), a copy learns a blend of the trained network's two predictions:

    empty caption:   u' = u
    caption:         c' = u + k (c - u),   k = effective scale / pipeline scale

so that u' + pipeline scale (c' - u') = u + effective scale (c - u). The effective scale rises with the noise: there the
caption decides what is drawn and where, and colours burn later. The error of that sum is part of the loss, because
guidance multiplies the difference of both errors. Errors count as they are in the picture that a prediction means, that
is times the ratio of noise to signal, and high noise is drawn more often.
"""

import copy

import torch
from transformers import CLIPTokenizer

from stages.lib.project.errors import run_stage
from training import loop, networks
from training.checkpoint import load_weights
from training.data import caption_ids, captions_of, load_scenes, load_tokenizer, token_ids
from training.scenes import Scene
from training.settings import Settings, load_settings
from training.train_diffusion import STEM as DIFFUSION
from training.train_diffusion import Latents, load_latents

STEM = "guidance"


def blend(
    empty: torch.Tensor, captioned: torch.Tensor, pipeline_scale: float, effective_scale: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(prediction that a caption shall give, prediction that guidance shall make), from those of the teacher."""
    difference = captioned - empty
    return empty + effective_scale / pipeline_scale * difference, empty + effective_scale * difference


def loss_function(
    student: networks.Diffusion,
    teacher: networks.Diffusion,
    latents: Latents,
    scaling_factor: float,
    scenes: list[Scene],
    tokenizer: CLIPTokenizer,
    settings: Settings,
    device: torch.device,
) -> loop.Loss:
    """The loss of a step on a random batch of noisy latents, each with its caption and with the empty one."""
    values, fit = settings.guidance, settings.guidance.fit
    captions = captions_of(scenes, settings.render.captions_per_scene, settings.seed)
    ids = caption_ids(tokenizer, captions).to(device)
    empty = token_ids(tokenizer, [""]).to(device).expand(fit.batch_size, -1)
    signal = networks.scheduler().alphas_cumprod.to(device)
    weight = (1 - signal) / signal
    effective_rise = values.effective_scale_noise - values.effective_scale_clean
    layout = loop.convolution_layout(device)

    def predictions(
        model: networks.Diffusion, noisy: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        states = model.text_encoder(torch.cat([empty, text])).last_hidden_state
        both = torch.cat([noisy, noisy]).contiguous(memory_format=layout)
        predicted = model.unet(both, time.repeat(2), encoder_hidden_states=states, return_dict=False)[0]
        first, second = predicted.float().chunk(2)
        return first, second

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        def integers(bound: int) -> torch.Tensor:
            return torch.randint(bound, (fit.batch_size,), generator=generator, device=device)

        chosen, wording, mirrored = integers(len(scenes)), integers(ids.shape[1]), integers(2)
        time = torch.maximum(integers(len(signal)), integers(len(signal)))
        clean = latents.batch(chosen, mirrored, generator) * scaling_factor
        noise = torch.randn(clean.shape, generator=generator, device=device)
        share = signal[time][:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        text = ids[chosen, wording]
        with torch.no_grad():
            without, captioned = predictions(teacher, noisy, time, text)
            scale = values.effective_scale_clean + effective_rise * time[:, None, None, None] / len(signal)
            wanted, guided = blend(without, captioned, values.pipeline_scale, scale)
        with loop.half_precision(device, fit.bfloat16):
            own_without, own = predictions(student, noisy, time, text)
        own_guided = own_without + values.pipeline_scale * (own - own_without)
        errors = [
            (a - b).square().mean((1, 2, 3)) for a, b in ((own_without, without), (own, wanted), (own_guided, guided))
        ]
        loss = (weight[time] * (errors[0] + errors[1] + values.guided_weight * errors[2])).mean()
        return loss, {
            "caption_error": (weight[time] * errors[1]).mean(),
            "guided_error": (weight[time] * errors[2]).mean(),
        }

    return loss_at


def main() -> None:
    options = loop.arguments(__doc__).parse_args()
    settings = load_settings(options.params)
    run = loop.run_of(STEM, options, settings.seed + 4)
    torch.manual_seed(run.seed)
    tokenizer = load_tokenizer(run.work)
    latents = load_latents(run.work, settings, run.device)
    scenes = load_scenes(run.work, "train")
    tensors, metadata = load_weights(run.final, DIFFUSION)
    teacher = networks.Diffusion(settings, tokenizer)
    teacher.load_state_dict(tensors)
    teacher = teacher.to(run.device, memory_format=loop.convolution_layout(run.device)).requires_grad_(False)
    student = copy.deepcopy(teacher).requires_grad_(True)
    # That of the latents which the teacher was trained on.
    factor = metadata["scaling_factor"]
    loss_at = loss_function(student, teacher, latents, float(factor), scenes, tokenizer, settings, run.device)
    average, step = loop.fit(student, loss_at, settings.guidance.fit, run)
    loop.finish(run, average, step, settings.guidance.fit.steps, {"scaling_factor": factor})


if __name__ == "__main__":
    run_stage(main)
