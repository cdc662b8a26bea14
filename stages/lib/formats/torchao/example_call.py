"""One call of a network with the least inputs that generation gives it, and what its Linear layers see of it."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def text_length(folder: Path) -> int:
    """Tokens of every text that the pipeline in `folder` encodes: 77 for Stable Diffusion."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True).max_position_embeddings


def least_rows(network: nn.Module, component: str, tokens: int) -> dict[str, int]:
    """Rows of the matrix that each Linear layer is given for one image without guidance; never called, not listed.

    The network is run once on the meta device, which takes neither time nor memory; it is left there.
    """
    network = network.to("meta")
    rows: dict[str, int] = {}

    def record(name: str) -> Callable:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen = inputs[0].numel() // inputs[0].shape[-1]
            rows[name] = min(seen, rows.get(name, seen))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(record(name))
    call_once(network, component, tokens, "meta")
    return rows


def call_once(network: nn.Module, component: str, tokens: int, device: str) -> None:
    """Run all of a network, in and out FP32, on zeros of the shapes that one image without guidance gives it."""
    config = network.config

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=device)

    with torch.no_grad():
        if component == "unet":
            size = config.sample_size
            height, width = (size, size) if isinstance(size, int) else size
            text = zeros(1, tokens, config.cross_attention_dim)
            network(zeros(1, config.in_channels, height, width), torch.zeros((), device=device), text)
        elif component == "vae":
            size = config.sample_size // 2 ** (len(config.block_out_channels) - 1)
            network.encode(zeros(1, config.in_channels, config.sample_size, config.sample_size))
            network.decode(zeros(1, config.latent_channels, size, size))
        elif component == "text_encoder":
            network(torch.zeros(1, tokens, dtype=torch.long, device=device))
        else:
            side = config.vision_config.image_size
            network.visual_projection(network.vision_model(zeros(1, 3, side, side))[1])
