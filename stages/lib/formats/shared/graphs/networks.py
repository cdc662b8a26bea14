"""Graphs as networks of a StableDiffusionPipeline: thin modules that diffusers cannot tell from its own.

Each takes `graph`, a module that is called with the named inputs of stages.lib.formats.shared.graphs.tracing and gives
one tensor.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from safetensors.torch import load_file
from torch import nn

from stages.lib.formats.shared.graphs.tracing import time_embedding
from stages.lib.models.components import empty_component, load_component, weight_files


def decision_state(base: Path) -> dict[str, torch.Tensor]:
    """The safety checker's concept vectors and thresholds, which PyTorch compares embeddings with."""
    state = load_component(base, "safety_checker", "float32").state_dict()
    return {name: tensor for name, tensor in state.items() if "." not in name}


def stand_in(folder: Path, component: str, graph: nn.Module) -> nn.Module:
    """The module that stands for `component`: its graph and, for a safety checker, its thresholds in `folder`."""
    network = empty_component(folder, component)
    if component != "safety_checker":
        return {"unet": UNet, "vae": Decoder, "text_encoder": TextEncoder}[component](network, graph)
    network.vision_model, network.visual_projection = Vision(network, graph), nn.Identity()
    state = {}
    for path in weight_files(folder, component):
        state.update(load_file(path))
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


class OnCpu(nn.Module):
    """What diffusers asks of a network: where it is, what it takes, how it was made."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config


class UNet(OnCpu):
    """Predicts the noise.

    `schedule` names, per call of an image, which graph is called: one of `scheduled`, else `graph`; later calls are
    those of `graph`.
    """

    def __init__(
        self,
        network: nn.Module,
        graph: nn.Module,
        scheduled: dict[str, nn.Module] | None = None,
        schedule: tuple[str, ...] = (),
    ) -> None:
        super().__init__(network.config)
        self.time_proj, self.graph, self.schedule = network.time_proj, graph, schedule
        # With a suffix, because a module may not be called as a method is, such as `bfloat16`.
        self.scheduled = nn.ModuleDict({f"{entry}_calls": module for entry, module in (scheduled or {}).items()})
        self.calls = 0

    def begin_image(self) -> None:
        """The next call is the first of an image."""
        self.calls = 0

    def forward(
        self,
        sample: torch.Tensor,
        timestep: Any,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: None = None,
        cross_attention_kwargs: None = None,
        added_cond_kwargs: None = None,
        return_dict: bool = True,
    ) -> Any:
        extras = (timestep_cond, cross_attention_kwargs, added_cond_kwargs)
        if any(extra is not None for extra in extras):
            raise ValueError("this U-Net takes a sample, a timestep and a text, and nothing else")
        entry = self.schedule[self.calls] if self.calls < len(self.schedule) else ""
        graph = getattr(self.scheduled, f"{entry}_calls", self.graph)
        self.calls += 1
        noise = graph(sample=sample, time=time_embedding(self, timestep), text=encoder_hidden_states)
        return UNet2DConditionOutput(sample=noise) if return_dict else (noise,)


class Decoder(OnCpu):
    """The VAE without its encoder."""

    def __init__(self, network: nn.Module, graph: nn.Module) -> None:
        super().__init__(network.config)
        self.graph = graph

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: None = None) -> Any:
        """Latents (n, c, h, w) to an image (n, 3, H, W) in [-1, 1], FP32."""
        image = self.graph(latents=z)
        return DecoderOutput(sample=image) if return_dict else (image,)


class TextEncoder(OnCpu):
    """Tokens to the hidden states of the last layer."""

    def __init__(self, network: nn.Module, graph: nn.Module) -> None:
        super().__init__(network.config)
        self.graph = graph

    def forward(self, input_ids: torch.Tensor, attention_mask: None = None) -> tuple[torch.Tensor]:
        if attention_mask is not None:
            raise ValueError("this text encoder takes no attention mask")
        return (self.graph(tokens=input_ids),)


class Vision(OnCpu):
    """Pixels to the embedding that the safety checker compares; stands for its vision model and projection."""

    def __init__(self, network: nn.Module, graph: nn.Module) -> None:
        super().__init__(network.config.vision_config)
        self.graph = graph

    def forward(self, pixels: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, self.graph(pixels=pixels)
