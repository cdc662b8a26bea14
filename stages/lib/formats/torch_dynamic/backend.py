"""What back end `torch_dynamic` does: see the package."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn
from torch.utils._pytree import tree_map

from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.linears import own_linears
from stages.lib.models.components import load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import Variant

MANIFEST = "quantization.json"


@contextmanager
def _without_deprecation_warnings() -> Iterator[None]:
    """PyTorch announces that these functions will move or go some day; the pinned version has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.ao.quantization is deprecated.*")
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
        yield


def quantize(base: Path, variant: Variant, out: Path) -> None:
    """Write `base` with the Linear layers of the chosen components in INT8 into the empty folder `out`."""
    variant = on_model(variant, base)

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        quantize_linears(model, variant.granularity)
        manifest = {
            "method": "torch.ao.quantization.quantize_dynamic",
            "granularity": variant.granularity,
            # PyTorch's kernel call leaves one bit of the activations unused against overflow in 16-bit sums
            "activation_reduce_range": True,
            "linear": [name for name, _ in _quantized_linears(model)],
        }
        write_json(out / component / MANIFEST, manifest)
        write_component(out, component, plain_state(model))

    write_variant(base, variant, out, "float32", convert)


def quantize_linears(model: nn.Module, granularity: str) -> None:
    """Replace every nn.Linear of an FP32 network by PyTorch's dynamically quantized one, in place.

    But for those that share their weight: PyTorch would store it twice.
    """
    from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic

    qconfig = {"tensor": default_dynamic_qconfig, "channel": per_channel_dynamic_qconfig}[granularity]
    with _without_deprecation_warnings():
        quantize_dynamic(model, dict.fromkeys(own_linears(model), qconfig), inplace=True)


def _quantized_linears(model: nn.Module) -> "Iterator[tuple[str, nn.Module]]":
    from torch.ao.nn.quantized.dynamic import Linear

    return ((name, module) for name, module in model.named_modules() if isinstance(module, Linear))


def plain_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a dynamically quantized network; a packed weight as integers, scale, zero point and bias."""
    packed = dict(_quantized_linears(model))
    inside = tuple(f"{name}." for name in packed)
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, torch.Tensor) and not name.startswith(inside)
    }
    for name, module in packed.items():
        weight, bias = module._weight_bias()
        per_tensor = weight.qscheme() == torch.per_tensor_affine
        scale = torch.tensor(weight.q_scale()) if per_tensor else weight.q_per_channel_scales()
        zero = torch.tensor(weight.q_zero_point()) if per_tensor else weight.q_per_channel_zero_points()
        state[f"{name}.weight"] = weight.int_repr()
        # observers work in FP32, so FP32 holds the scale exactly; symmetric weights have the zero point 0
        state[f"{name}.weight_scale"] = scale.to(torch.float32)
        state[f"{name}.weight_zero_point"] = zero.to(torch.int8)
        if bias is not None:
            state[f"{name}.bias"] = bias
    return state


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". No FP32 copy of an INT8 weight is made."""

    def load_converted(component: str) -> nn.Module:
        names = read_json(folder / component / MANIFEST)["linear"]
        network = rebuild_component(folder, component, names, ("", "_scale", "_zero_point"), _packed)
        if not [*network.parameters(), *network.buffers()]:  # diffusers takes device and dtype of the first one
            network.register_buffer("of_no_layer", torch.empty(0), persistent=False)
        return network

    return load_variant(folder, on_model(variant, folder), device, load_converted, "float32")


def _packed(linear: nn.Linear, *stored: torch.Tensor) -> nn.Module:
    return pack_linear(*stored, None if linear.bias is None else linear.bias.detach())


def pack_linear(
    integers: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bias: torch.Tensor | None
) -> nn.Module:
    """A dynamically quantized Linear of INT8 `integers` (out, in) and a scalar or (out,) `scale` and `zero_point`."""
    from torch.ao.nn.quantized.dynamic import Linear

    with _without_deprecation_warnings():
        if scale.ndim == 0:
            weight = torch._make_per_tensor_quantized_tensor(integers, scale.item(), zero_point.item())
        else:
            weight = torch._make_per_channel_quantized_tensor(integers, scale.double(), zero_point.long(), 0)
        linear = Linear(integers.shape[1], integers.shape[0])
    linear.set_weight_bias(weight, bias)
    linear.weight = _Values(linear.weight)
    linear.bias = None if bias is None else _Values(linear.bias)
    return linear


class _Values:
    """In place of a method of the same name: networks ask a weight for its dtype, or compute with it by themselves."""

    dtype = torch.float32

    def __init__(self, method: Callable[[], torch.Tensor]) -> None:
        self._method = method

    def __call__(self) -> torch.Tensor:
        return self._method()

    @classmethod
    def __torch_function__(cls, function: Callable, _: object, args: tuple = (), options: dict | None = None) -> Any:
        def plain(value: Any) -> Any:
            return value().dequantize() if isinstance(value, cls) else value

        return function(*tree_map(plain, args), **tree_map(plain, options or {}))


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor."""
    return stored_tensors(folder)
