"""Train the second model's transformer and text encoder on the latents of all drawings and of their mirror images.

Rectified flow (https://arxiv.org/abs/2209.03003): x_t = (1 - t) x_0 + t noise, and the network predicts the velocity
noise - x_0; times are logit-normal (https://arxiv.org/abs/2403.03206) with a share of uniform ones. Some captions are
left empty for classifier-free guidance.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from stages.lib.project.errors import run_stage
from training import first_model, loop, transformer_network
from training.data import caption_ids, captions_of, load_scenes, token_ids
from training.scenes import Scene
from training.settings import Settings, load_settings
from training.train_diffusion import Latents, latents_of

STEM = "transformer"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of the second model's trainings."""
    parser = loop.arguments(description)
    parser.add_argument("--first-model", type=Path, default=Path("data/embedded"), help="the first model's folder")
    return parser


def times(count: int, uniform_share: float, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """`count` times in 0..1: logit-normal, a share of them uniform."""
    normal = torch.sigmoid(torch.randn(count, generator=generator, device=device))
    uniform, choice = torch.rand((2, count), generator=generator, device=device)
    return torch.where(choice < uniform_share, uniform, normal)


def noisy_at(clean: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """The point at `time` (b) of the straight lines from latents `clean` (time 0) to `noise` (time 1)."""
    return torch.lerp(clean, noise, time[:, None, None, None])


def loss_function(
    model: transformer_network.Transformer,
    latents: Latents,
    scenes: list[Scene],
    tokenizer: CLIPTokenizer,
    settings: Settings,
    device: torch.device,
) -> loop.Loss:
    """The loss of a step on a random batch; captions are drawn and tokenised here, once."""
    values, fit = settings.transformer, settings.transformer.fit
    captions = captions_of(scenes, settings.render.captions_per_scene, settings.seed)
    ids = caption_ids(tokenizer, captions).to(device)
    empty = token_ids(tokenizer, [""]).to(device)
    shift, factor = latents.shift_factor(), latents.scaling_factor()
    predict = compiled(model, fit.compile)

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        def integers(bound: int) -> torch.Tensor:
            return torch.randint(bound, (fit.batch_size,), generator=generator, device=device)

        chosen, wording, mirrored = integers(len(scenes)), integers(ids.shape[1]), integers(2)
        clean = (latents.batch(chosen, mirrored, generator) - shift) * factor
        dropped = torch.rand((fit.batch_size, 1), generator=generator, device=device) < values.caption_dropout
        text = torch.where(dropped, empty, ids[chosen, wording])
        noise = torch.randn(clean.shape, generator=generator, device=device)
        time = times(fit.batch_size, values.uniform_time_share, generator, device)
        with loop.half_precision(device, fit.bfloat16):
            predicted = predict(noisy_at(clean, noise, time), time, text)
        error = (predicted.float() - (noise - clean)).square().mean((1, 2, 3))
        early = (time > 0.5).float()
        return error.mean(), {"error_at_high_noise": (early * error).sum() / early.sum().clamp(min=1)}

    return loss_at


def compiled(model: transformer_network.Transformer, enabled: bool) -> Callable:
    """The model with its attention for trainings, each block compiled where `enabled`: equal blocks compile once."""
    model.count_empty_tokens()
    if enabled:
        for block in model.transformer.transformer_blocks:
            block.compile()
    return model


def main() -> None:
    options = arguments(__doc__).parse_args()
    settings = load_settings(options.params)
    run = loop.run_of(STEM, options, settings.seed + 5)
    torch.manual_seed(run.seed)
    first_model.check(options.first_model)
    tokenizer = first_model.tokenizer(options.first_model)
    latents = latents_of(first_model.vae(options.first_model).state_dict(), run.work, settings, run.device)
    scenes = load_scenes(run.work, "train")
    metadata = {
        "scaling_factor": f"{latents.scaling_factor():.6f}",
        "shift_factor": f"{latents.shift_factor():.6f}",
    }
    print(f"{len(scenes)} latents, {metadata}", flush=True)
    model = transformer_network.Transformer(settings, options.first_model).to(run.device)
    loss_at = loss_function(model, latents, scenes, tokenizer, settings, run.device)
    average, step = loop.fit(model, loss_at, settings.transformer.fit, run)
    loop.finish(run, average, step, settings.transformer.fit.steps, metadata)


if __name__ == "__main__":
    run_stage(main)
