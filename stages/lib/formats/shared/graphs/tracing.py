"""The networks of a pipeline in the form in which they are traced: tensors in, one tensor out."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from stages.lib.project.errors import UserError

# What the U-Net of a pipeline may take besides image, time and text; a graph is given none of it.
UNET_EXTRAS = (
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
)


class _UNet(nn.Module):
    """Takes the sinusoidal embedding of the timestep: in BF16, inside the graph, it would lose its low digits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        network.get_time_embed = lambda sample, timestep: timestep

    def forward(self, sample: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.network(sample, time, text, return_dict=False)[0]


class _Decoder(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        if self.network.post_quant_conv is not None:
            latents = self.network.post_quant_conv(latents)
        return self.network.decoder(latents)


class _TextEncoder(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network(tokens, return_dict=False)[0]


class _Vision(nn.Module):
    """The part of the safety checker that has weights: pixels to an embedding."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network.visual_projection(self.network.vision_model(pixels)[1])


TRACED = {"unet": _UNet, "vae": _Decoder, "text_encoder": _TextEncoder, "safety_checker": _Vision}


def token_count(folder: Path) -> int:
    """How many tokens a text has."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True).max_position_embeddings


def input_shapes(component: str, network: nn.Module, tokens: int) -> dict[str, tuple[int, ...]]:
    """The shape of each input for one image with guidance; `tokens` is the length of a text."""
    config = network.config
    if component == "unet":
        size = config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return {
            "sample": (2, config.in_channels, height, width),
            "time": (1, config.block_out_channels[0]),
            "text": (2, tokens, config.cross_attention_dim),
        }
    if component == "vae":
        size = config.sample_size // 2 ** (len(config.block_out_channels) - 1)
        return {"latents": (1, config.latent_channels, size, size)}
    if component == "text_encoder":
        return {"tokens": (1, tokens)}
    vision = config.vision_config
    return {"pixels": (1, 3, vision.image_size, vision.image_size)}


def example_inputs(component: str, network: nn.Module, tokens: int) -> dict[str, torch.Tensor]:
    """Inputs of the shapes of `input_shapes` to trace with: the same numbers each time."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.zeros(shape, dtype=torch.long) if name == "tokens" else torch.randn(shape, generator=generator)
        for name, shape in input_shapes(component, network, tokens).items()
    }


def time_embedding(unet: nn.Module, timestep: object) -> torch.Tensor:
    """The sinusoidal embedding of one timestep, FP32 (1, channels); `unet` needs no weights for it."""
    return unet.time_proj(torch.as_tensor(timestep).reshape(1)).float()


def check_supported(backend: str, component: str, network: nn.Module, folder: Path) -> None:
    """Raise a UserError for a U-Net that takes more than an image, a time and a text."""
    extras = [key for key in UNET_EXTRAS if component == "unet" and getattr(network.config, key, None) is not None]
    if component == "unet" and network.config.time_embedding_type != "positional":
        extras.append("time_embedding_type")
    if extras:
        raise UserError(
            f"{folder / component / 'config.json'}: '{extras[0]}' is not something back end '{backend}' can do: "
            "leave 'unet' out of `components`"
        )


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Tracing looks at every property of a network, old ones too, and at assertions of shapes; all warn."""
    import transformers.utils.logging

    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            for kind in (torch.jit.TracerWarning, DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
