"""Train the autoencoder; with `--phase decoder`, go on with the decoder alone and the encoder as it is.

The loss is absolute error + squared error + half the error of neighbour differences + a trace of KL divergence;
towards the end it becomes the squared error alone, which is what PSNR measures.
"""

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL

from stages.lib.project.errors import run_stage
from training import loop, networks
from training.checkpoint import load_weights, save_weights
from training.data import Drawings, load_drawings
from training.settings import Autoencoder, Fit, load_settings

STEM = "autoencoder"


def moments(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log variance (b, 4, H/8, W/8) of the latents of pictures (b, 3, H, W) in -1..1."""
    mean, log_variance = vae.quant_conv(vae.encoder(pictures)).chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pictures (b, 3, H, W), about -1..1, of latents (b, 4, H/8, W/8) not scaled."""
    return vae.decoder(vae.post_quant_conv(latents))


def reconstruction(
    vae: AutoencoderKL, pictures: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(pictures decoded from sampled latents, mean, log variance)."""
    mean, log_variance = moments(vae, pictures)
    return decode(vae, mean + torch.exp(0.5 * log_variance) * noise), mean, log_variance


def psnr_db(error: torch.Tensor) -> torch.Tensor:
    """PSNR in dB of each picture's error (b, 3, H, W) on the scale -1..1 (peak-to-peak 2)."""
    return 10 * torch.log10(4 / error.square().mean((1, 2, 3)))


def picture_loss(error: torch.Tensor, squared_share: float) -> torch.Tensor:
    """From mixed (squared_share 0) to squared error alone (1) of an error (b, 3, H, W)."""
    horizontal = (error[..., 1:] - error[..., :-1]).abs().mean()
    vertical = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    mixed = error.abs().mean() + 0.5 * (horizontal + vertical)
    # Four times the squared error keeps the gradient's size as the absolute errors leave.
    return (1 - squared_share) * mixed + (1 + 3 * squared_share) * error.square().mean()


def loss_function(
    vae: AutoencoderKL, drawings: Drawings, values: Autoencoder, fit: Fit, device: torch.device
) -> loop.Loss:
    """The loss of a step: a random batch, mirrored at random, through the sampled latents."""
    forward: Callable = torch.compile(reconstruction) if fit.compile else reconstruction
    latent_size = vae.config.sample_size // 2 ** (len(values.block_out_channels) - 1)
    noise_shape = (fit.batch_size, values.latent_channels, latent_size, latent_size)
    layout = loop.convolution_layout(device)

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        chosen = torch.randint(len(drawings.scenes), (fit.batch_size,), generator=generator, device=device)
        flipped = torch.rand(fit.batch_size, generator=generator, device=device) < 0.5
        pictures = drawings.batch(chosen, flipped).mul_(2).sub_(1)
        pictures = pictures.contiguous(memory_format=layout)
        noise = torch.randn(noise_shape, generator=generator, device=device)
        with loop.half_precision(device, fit.bfloat16):
            decoded, mean, log_variance = forward(vae, pictures, noise)
        error = decoded.float() - pictures
        mean, log_variance = mean.float(), log_variance.float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean()
        squared_share = min(1.0, max(0.0, (progress - 1 + values.squared_error_share) / 0.1))
        loss = picture_loss(error, squared_share) + values.kl_weight * divergence
        return loss, {"psnr_db": psnr_db(error).mean(), "latent_std": mean.std()}

    return loss_at


@torch.no_grad()
def heldout_psnr_db(vae: AutoencoderKL, drawings: Drawings, count: int, device: torch.device) -> list[float]:
    """PSNR in dB of the first `count` drawings, encoded to the mean, decoded, rounded to uint8; FP32."""
    values = []
    for start in range(0, count, 25):
        indices = torch.arange(start, min(start + 25, count), device=device)
        pictures = drawings.batch(indices, torch.zeros_like(indices, dtype=torch.bool)).mul_(2).sub_(1)
        decoded = decode(vae, moments(vae, pictures)[0]).clamp(-1, 1)
        rounded = torch.round((decoded + 1) * 127.5) / 127.5 - 1
        values += psnr_db(rounded - pictures).tolist()
    return values


def main() -> None:
    parser = loop.arguments(__doc__)
    parser.add_argument("--phase", choices=("whole", "decoder"), default="whole")
    options = parser.parse_args()
    settings = load_settings(options.params)
    values = settings.autoencoder
    run = loop.run_of(STEM if options.phase == "whole" else "decoder", options, settings.seed + 1)
    torch.manual_seed(run.seed)
    drawings = load_drawings(run.work, "train", run.device)
    vae = networks.vae(values).to(run.device, memory_format=loop.convolution_layout(run.device))
    fit = values.fit
    if options.phase == "decoder":
        fit = values.decoder_fit
        vae.load_state_dict(load_weights(run.final, STEM)[0])
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    average, step = loop.fit(vae, loss_function(vae, drawings, values, fit, run.device), fit, run)
    heldout = load_drawings(run.work, "heldout", run.device)
    count = min(len(heldout.scenes), settings.evaluate.reconstruction_count)
    measured = heldout_psnr_db(average, heldout, count, run.device)
    print(f"{run.stem}: {sum(measured) / count:.2f} dB over {count} held-out drawings")
    loop.finish(run, average, step, fit.steps, {"heldout_psnr_db": f"{sum(measured) / count:.4f}"})
    if options.phase == "decoder":
        save_weights(run.final, STEM, average.state_dict(), {"phase": "decoder", "step": str(step)})


if __name__ == "__main__":
    run_stage(main)
