"""Make the pipeline's guidance scale the right one for the transformer too: train_guidance says why and how.

Velocities blend as epsilon predictions do. Times are uniform and errors count alike at all of them, since the sampler
adds velocities up over evenly spread times.
"""

import copy

import torch
from transformers import CLIPTokenizer

from stages.lib.project.errors import run_stage
from training import first_model, loop, transformer_network
from training.checkpoint import load_weights
from training.data import caption_ids, captions_of, load_scenes, token_ids
from training.scenes import Scene
from training.settings import Settings, load_settings
from training.train_diffusion import Latents, latents_of
from training.train_guidance import blend
from training.train_transformer import STEM as TRANSFORMER
from training.train_transformer import arguments, compiled, noisy_at

STEM = "transformer_guidance"


def loss_function(
    student: transformer_network.Transformer,
    teacher: transformer_network.Transformer,
    latents: Latents,
    normalisation: tuple[float, float],
    scenes: list[Scene],
    tokenizer: CLIPTokenizer,
    settings: Settings,
    device: torch.device,
) -> loop.Loss:
    """The loss of a step on a random batch of noisy latents, each with its caption and with the empty one.

    `normalisation`: shift and scaling factor of the latents that the teacher was trained on.
    """
    values, fit = settings.transformer_guidance, settings.transformer_guidance.fit
    captions = captions_of(scenes, settings.render.captions_per_scene, settings.seed)
    ids = caption_ids(tokenizer, captions).to(device)
    empty = token_ids(tokenizer, [""]).to(device).expand(fit.batch_size, -1)
    effective_rise = values.effective_scale_noise - values.effective_scale_clean
    shift, factor = normalisation
    compiled(student, fit.compile)
    compiled(teacher, fit.compile)

    def predictions(
        model: transformer_network.Transformer, noisy: torch.Tensor, time: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with loop.half_precision(device, fit.bfloat16):
            both = model(torch.cat([noisy, noisy]), time.repeat(2), torch.cat([empty, text]))
        first, second = both.float().chunk(2)
        return first, second

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        def integers(bound: int) -> torch.Tensor:
            return torch.randint(bound, (fit.batch_size,), generator=generator, device=device)

        chosen, wording, mirrored = integers(len(scenes)), integers(ids.shape[1]), integers(2)
        clean = (latents.batch(chosen, mirrored, generator) - shift) * factor
        noise = torch.randn(clean.shape, generator=generator, device=device)
        time = torch.rand(fit.batch_size, generator=generator, device=device)
        noisy = noisy_at(clean, noise, time)
        text = ids[chosen, wording]
        with torch.no_grad():
            without, captioned = predictions(teacher, noisy, time, text)
            scale = values.effective_scale_clean + effective_rise * time[:, None, None, None]
            wanted, guided = blend(without, captioned, values.pipeline_scale, scale)
        own_without, own = predictions(student, noisy, time, text)
        own_guided = own_without + values.pipeline_scale * (own - own_without)
        errors = [(a - b).square().mean() for a, b in ((own_without, without), (own, wanted), (own_guided, guided))]
        loss = errors[0] + errors[1] + values.guided_weight * errors[2]
        return loss, {"caption_error": errors[1], "guided_error": errors[2]}

    return loss_at


def main() -> None:
    options = arguments(__doc__).parse_args()
    settings = load_settings(options.params)
    run = loop.run_of(STEM, options, settings.seed + 6)
    torch.manual_seed(run.seed)
    first_model.check(options.first_model)
    tokenizer = first_model.tokenizer(options.first_model)
    latents = latents_of(first_model.vae(options.first_model).state_dict(), run.work, settings, run.device)
    scenes = load_scenes(run.work, "train")
    tensors, metadata = load_weights(run.final, TRANSFORMER)
    teacher = transformer_network.Transformer(settings, options.first_model)
    teacher.load_state_dict(tensors)
    student = copy.deepcopy(teacher)
    teacher = teacher.to(run.device).requires_grad_(False)
    student = student.to(run.device)
    kept = {name: metadata[name] for name in ("scaling_factor", "shift_factor")}
    normalisation = float(kept["shift_factor"]), float(kept["scaling_factor"])
    loss_at = loss_function(student, teacher, latents, normalisation, scenes, tokenizer, settings, run.device)
    average, step = loop.fit(student, loss_at, settings.transformer_guidance.fit, run)
    loop.finish(run, average, step, settings.transformer_guidance.fit.steps, kept)


if __name__ == "__main__":
    run_stage(main)
