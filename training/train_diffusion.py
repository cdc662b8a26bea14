"""Train the U-Net and its text encoder on the latents of all drawings and of their mirror images.

Epsilon prediction with the loss weight of https://arxiv.org/abs/2303.09556; some captions are left empty for
classifier-free guidance (https://arxiv.org/abs/2207.12598).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from stages.lib.project.errors import run_stage
from training import loop, networks
from training.checkpoint import load_weights
from training.data import Drawings, caption_ids, captions_of, load_drawings, load_scenes, load_tokenizer, token_ids
from training.scenes import Scene
from training.settings import Settings, load_settings
from training.train_autoencoder import STEM as AUTOENCODER_STEM
from training.train_autoencoder import moments

STEM = "diffusion"


@dataclass(frozen=True)
class Latents:
    """Mean and standard deviation, FP16 (2, n, 4, h, w): index 0 the drawings, 1 their mirror images."""

    mean: torch.Tensor
    std: torch.Tensor

    def scaling_factor(self) -> float:
        """1 / standard deviation of sampled latents, as Stable Diffusion's VAE config has it."""
        variance = self.mean.float().var() + self.std.float().square().mean()
        return float(variance.rsqrt())

    def shift_factor(self) -> float:
        """Mean of the latents, as Stable Diffusion 3's VAE config has it."""
        return float(self.mean.float().mean())

    def batch(self, indices: torch.Tensor, mirrored: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Sampled latents (b, 4, h, w), FP32, not scaled."""
        mean = self.mean[mirrored, indices].float()
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + self.std[mirrored, indices].float() * noise


@torch.no_grad()
def encode(vae: AutoencoderKL, drawings: Drawings, device: torch.device, batch_size: int, bfloat16: bool) -> Latents:
    """Latents of all drawings and of their mirror images."""
    layout = loop.convolution_layout(device)
    indices = torch.arange(len(drawings.scenes), device=device)
    sides: list[list[torch.Tensor]] = []
    for mirrored in (False, True):
        means, stds = [], []
        for chosen in indices.split(batch_size):
            pictures = drawings.batch(chosen, torch.full_like(chosen, mirrored, dtype=torch.bool)).mul_(2).sub_(1)
            with loop.half_precision(device, bfloat16):
                mean, log_variance = moments(vae, pictures.contiguous(memory_format=layout))
            means.append(mean.half())
            stds.append(torch.exp(0.5 * log_variance.float()).half())
        sides.append([torch.cat(means), torch.cat(stds)])
    mean, std = (torch.stack(pair).contiguous() for pair in zip(*sides, strict=True))
    return Latents(mean, std)


def load_latents(work: Path, settings: Settings, device: torch.device) -> Latents:
    """The latents in `work`, made anew when they are missing or were made by another autoencoder."""
    return latents_of(load_weights(work / "weights", AUTOENCODER_STEM)[0], work, settings, device)


def latents_of(weights: dict[str, torch.Tensor], work: Path, settings: Settings, device: torch.device) -> Latents:
    """`load_latents` for an autoencoder's given weights."""
    digest = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()
    path = work / "latents.safetensors"
    if path.exists():
        with safe_open(path, framework="pt") as file:
            fresh = file.metadata()["autoencoder"] == digest
        if fresh:
            return Latents(**load_file(path, device=str(device)))
    vae = networks.vae(settings.autoencoder).to(device, memory_format=loop.convolution_layout(device)).eval()
    vae.load_state_dict(weights)
    drawings = load_drawings(work, "train", device)
    latents = encode(vae, drawings, device, 256 if device.type == "cuda" else 8, settings.autoencoder.fit.bfloat16)
    partial = path.with_suffix(".partial")
    save_file({"mean": latents.mean, "std": latents.std}, partial, metadata={"autoencoder": digest})
    partial.replace(path)
    return latents


def loss_function(
    model: networks.Diffusion,
    latents: Latents,
    scenes: list[Scene],
    tokenizer: CLIPTokenizer,
    settings: Settings,
    device: torch.device,
) -> loop.Loss:
    """The loss of a step on a random batch; captions are drawn and tokenised here, once."""
    values, fit = settings.diffusion, settings.diffusion.fit
    captions = captions_of(scenes, settings.render.captions_per_scene, settings.seed)
    ids = caption_ids(tokenizer, captions).to(device)
    empty = token_ids(tokenizer, [""]).to(device)
    signal = networks.scheduler().alphas_cumprod.to(device)
    ratio = signal / (1 - signal)
    weight = ratio.clamp(max=values.snr_gamma) / ratio
    factor = latents.scaling_factor()
    layout = loop.convolution_layout(device)
    unet: Callable = torch.compile(model.unet) if fit.compile else model.unet

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        def integers(bound: int) -> torch.Tensor:
            return torch.randint(bound, (fit.batch_size,), generator=generator, device=device)

        chosen, wording, mirrored, time = (
            integers(len(scenes)),
            integers(ids.shape[1]),
            integers(2),
            integers(len(signal)),
        )
        clean = latents.batch(chosen, mirrored, generator) * factor
        dropped = torch.rand((fit.batch_size, 1), generator=generator, device=device) < values.caption_dropout
        text = torch.where(dropped, empty, ids[chosen, wording])
        noise = torch.randn(clean.shape, generator=generator, device=device)
        share = signal[time][:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        noisy = noisy.contiguous(memory_format=layout)
        with loop.half_precision(device, fit.bfloat16):
            states = model.text_encoder(text).last_hidden_state
            predicted = unet(noisy, time, encoder_hidden_states=states, return_dict=False)[0]
        error = (predicted.float() - noise).square().mean((1, 2, 3))
        return (weight[time] * error).mean(), {"squared_error": error.mean()}

    return loss_at


def main() -> None:
    options = loop.arguments(__doc__).parse_args()
    settings = load_settings(options.params)
    run = loop.run_of(STEM, options, settings.seed + 3)
    torch.manual_seed(run.seed)
    tokenizer = load_tokenizer(run.work)
    latents = load_latents(run.work, settings, run.device)
    scenes = load_scenes(run.work, "train")
    print(f"{len(scenes)} latents, scaling factor {latents.scaling_factor():.5f}", flush=True)
    model = networks.Diffusion(settings, tokenizer).to(run.device, memory_format=loop.convolution_layout(run.device))
    loss_at = loss_function(model, latents, scenes, tokenizer, settings, run.device)
    average, step = loop.fit(model, loss_at, settings.diffusion.fit, run)
    metadata = {"scaling_factor": f"{latents.scaling_factor():.6f}"}
    loop.finish(run, average, step, settings.diffusion.fit.steps, metadata)


if __name__ == "__main__":
    run_stage(main)
