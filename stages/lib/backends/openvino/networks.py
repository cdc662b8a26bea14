"""OpenVINO graphs as networks of a StableDiffusionPipeline: thin modules that diffusers cannot tell from its own."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

if TYPE_CHECKING:
    import openvino


def time_embedding(unet: nn.Module, timestep: Any) -> torch.Tensor:
    """The sinusoidal embedding of one timestep, FP32 (1, channels); `unet` needs no weights for it."""
    return unet.time_proj(torch.as_tensor(timestep).reshape(1)).float()


class Graph(nn.Module):
    """A graph compiled for fixed shapes; other shapes are compiled when they come first.

    Fixed, because the runtime plans kernels and memory when it compiles.
    """

    def __init__(
        self, core: "openvino.Core", model: "openvino.Model", compute: str, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.core, self.model, self.compute = core, model, compute
        self.compiled: dict[tuple, tuple[openvino.CompiledModel, openvino.InferRequest]] = {}
        self._request(shapes)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        arrays = {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in inputs.items()}
        request = self._request({name: array.shape for name, array in arrays.items()})
        return torch.from_numpy(request.infer(arrays, share_inputs=True)[0])

    def _request(self, shapes: dict[str, tuple[int, ...]]) -> "openvino.InferRequest":
        key = tuple(shapes.items())
        if key not in self.compiled:
            model = self.model.clone()
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            compiled = self.core.compile_model(model, "CPU", properties(self.compute))
            self.compiled[key] = compiled, compiled.create_infer_request()
        return self.compiled[key][1]

    def constant_bytes(self) -> int:
        """Bytes of the constants of every compiled form, as the runtime has them; see stages.lib.inventory."""
        nodes = [node for compiled, _ in self.compiled.values() for node in compiled.get_runtime_model().get_ops()]
        constants = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "Const"]
        return sum(
            int(np.prod(node.get_output_shape(0))) * node.get_output_element_type(0).size
            for node in constants
            if node.get_output_element_type(0).is_static()
        )


def properties(compute: str) -> dict[str, Any]:
    """How a graph is compiled for arithmetic in `compute`, on the threads that PyTorch has."""
    import openvino

    return {
        "INFERENCE_PRECISION_HINT": {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}[compute],
        # Or else it quantizes the activations of linear layers with INT8 weights by itself.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }


class _OnCpu(nn.Module):
    """What diffusers asks of a network: where it is, what it takes, how it was made."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config


class UNet(_OnCpu):
    """Predicts the noise. `schedule` says, per call of a picture, whether activations are INT8; then they are."""

    def __init__(self, network: nn.Module, graph: Graph, unquantized: Graph | None, schedule: tuple[str, ...]) -> None:
        super().__init__(network.config)
        self.time_proj, self.graph, self.unquantized, self.schedule = network.time_proj, graph, unquantized, schedule
        self.calls = 0

    def begin_picture(self) -> None:
        """The next call is the first of a picture."""
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
        spared = self.calls < len(self.schedule) and self.schedule[self.calls] == "none"
        self.calls += 1
        graph = self.unquantized if spared else self.graph
        noise = graph(sample=sample, time=time_embedding(self, timestep), text=encoder_hidden_states)
        return UNet2DConditionOutput(sample=noise) if return_dict else (noise,)


class Decoder(_OnCpu):
    """The VAE without its encoder."""

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__(network.config)
        self.graph = graph

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: None = None) -> Any:
        """Latents (n, c, h, w) to a picture (n, 3, H, W) in [-1, 1], FP32."""
        picture = self.graph(latents=z)
        return DecoderOutput(sample=picture) if return_dict else (picture,)


class TextEncoder(_OnCpu):
    """Tokens to the hidden states of the last layer."""

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__(network.config)
        self.graph = graph

    def forward(self, input_ids: torch.Tensor, attention_mask: None = None) -> tuple[torch.Tensor]:
        if attention_mask is not None:
            raise ValueError("this text encoder takes no attention mask")
        return (self.graph(tokens=input_ids),)


class Vision(_OnCpu):
    """Pixels to the embedding that the safety checker compares; stands for its vision model and projection."""

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__(network.config.vision_config)
        self.graph = graph

    def forward(self, pixels: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, self.graph(pixels=pixels)
