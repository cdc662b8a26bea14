"""Quantized networks as plain tensors in safetensors, and back."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.shared.availability import require_calls
from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.compiling import compile_network, require_compiler
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.formats.torchao.convolutions import convolutions, pack, put_back
from stages.lib.formats.torchao.layers import (
    PADDED_STEP,
    chosen_layers,
    configuration,
    integer_sums_overflow,
    require_gpu,
    require_package,
)
from stages.lib.models.calibration import Calls
from stages.lib.models.components import load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import Variant

MANIFEST = "quantization.json"
# What torchao's tensors keep inside, and what it is called on disk after the name of the weight.
SUFFIXES = {"qdata": "", "scale": "_scale", "zero_point": "_zero_point", "scale_and_zero": "_scale"}
COLUMNS = ("scale", "zero_point")  # stored as vectors


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the Linear layers of the chosen components quantized into the empty folder `out`.

    `calibration` has calls of each component, and is needed where activations become integers: it says how many rows
    each layer is given.
    """
    require_package()
    variant = on_model(variant, base)
    if variant.needs_gpu:
        require_gpu(variant, quantizing_device(variant))
    if variant.activations == "int8":
        require_calls(variant, variant.rounded_components, calibration)
    spared = spared_layers(variant, base)
    reduce_range = variant.activations == "int8" and variant.device != "cuda" and integer_sums_overflow()

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        chosen = chosen_layers(model, variant, (calibration or {}).get(component, []))
        chosen = [name for name in chosen if name not in spared[component]]
        model.load_state_dict(cast_state(model.state_dict(), float_dtype(variant), base / component), assign=True)
        model.to(quantizing_device(variant))
        names = quantize_layers(model, chosen, variant, reduce_range)
        manifest = {
            "method": "torchao.quantization.quantize_",
            "configuration": type(configuration(variant, reduce_range)).__name__,
            "reduce_range": reduce_range,
            "linear": names,
            "convolutions": convolutions(model, spared[component]) if variant.convolutions == "int8" else [],
        }
        write_json(out / component / MANIFEST, manifest)
        state = plain_state(model)
        pack(state, manifest["convolutions"])
        write_component(out, component, state)

    write_variant(base, variant, out, float_dtype(variant), convert)


def quantizing_device(variant: Variant) -> str:
    """Where weights are rounded: torchao takes kernels of the GPU for FP8 and INT4."""
    return "cuda" if variant.needs_gpu else "cpu"


def float_dtype(variant: Variant) -> str:
    """The dtype of all that is not quantized, stored and computed: of integers and FP8 it depends on no device."""
    return compute_dtype(variant, "cpu")


def quantize_layers(model: nn.Module, names: list[str], variant: Variant, reduce_range: bool) -> list[str]:
    """Quantize the Linear layers `names` of a network in place; the names of those that torchao did quantize.

    It leaves out layers whose widths FP8 products do not take.
    """
    from torchao.quantization import quantize_

    chosen = set(names)
    quantize_(model, configuration(variant, reduce_range), filter_fn=lambda _, name: name in chosen)
    return [name for name in names if is_quantized(model.get_submodule(name).weight)]


def is_quantized(weight: torch.Tensor) -> bool:
    """Whether a weight is one of torchao's tensors."""
    return hasattr(weight, "__tensor_flatten__")


def plain_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network, on the CPU; a quantized weight as integers (out, in), scale and zero point (out,).

    INT4 is stored as its kernel reads it, tile by tile; the scales beside it are (groups, out, 2), with zero points.
    """
    state = {}
    for name, tensor in model.state_dict().items():
        if not is_quantized(tensor):
            state[name] = tensor.cpu()
            continue
        for inside in tensor.__tensor_flatten__()[0]:
            part = getattr(tensor, inside).cpu()
            state[f"{name}{SUFFIXES[inside]}"] = part.flatten() if inside in COLUMNS else part
    return state


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda")."""
    require_package()
    variant = on_model(variant, folder)
    if variant.needs_gpu:
        require_gpu(variant, device)
    if variant.compile:
        require_compiler(variant, device)

    def load_converted(component: str) -> nn.Module:
        network = _load_quantized(folder, component, variant, device).to(device)
        return network.to(memory_format=torch.channels_last) if variant.memory_format == "channels_last" else network

    pipeline = load_variant(folder, variant, device, load_converted, float_dtype(variant))
    if variant.compile:
        for component in variant.components:
            compile_network(getattr(pipeline, component), variant.compile)
    return pipeline


def _load_quantized(folder: Path, component: str, variant: Variant, device: str) -> nn.Module:
    """One network from its config, its manifest and its safetensors files, on the CPU."""
    manifest = read_json(folder / component / MANIFEST)
    integers_multiply = variant.activations == "int8" and device == "cpu"
    if integers_multiply and not manifest["reduce_range"] and integer_sums_overflow():
        raise UserError(
            f"{folder} was made for processors that add INT8 products exactly (VNNI), which this one does not: "
            f"run `dvc repro --force quantize@{variant.name}`"
        )
    build, suffixes = _builder(variant, manifest["reduce_range"])
    network = rebuild_component(folder, component, manifest["linear"], suffixes, build)
    put_back(network, folder, component, manifest["convolutions"], getattr(torch, float_dtype(variant)))
    return network


def _builder(variant: Variant, reduce_range: bool) -> tuple[Callable[..., nn.Module], tuple[str, ...]]:
    """What puts stored tensors into a Linear layer, and what they are called.

    The settings around them, such as how activations are rounded, are those that `quantize_` gives a weight of the same
    width: this project states none of them a second time.
    """
    dtype = getattr(torch, float_dtype(variant))

    @cache
    def sample(width: int) -> torch.Tensor:
        layer = nn.Linear(width, 16, bias=False, dtype=dtype, device=quantizing_device(variant))
        quantize_layers(layer, [""], variant, reduce_range)
        return layer.weight.detach()

    def build(linear: nn.Linear, *tensors: torch.Tensor) -> nn.Linear:
        like = sample(linear.in_features)
        names, settings = like.__tensor_flatten__()
        parts = dict(zip(names, tensors, strict=True))
        parts = {name: part[:, None] if name in COLUMNS else part for name, part in parts.items()}
        shape = torch.Size((linear.out_features, linear.in_features))
        settings = settings | ({"shape": shape} if "shape" in settings else {})
        weight = type(like).__tensor_unflatten__(parts, settings, shape, (shape[1], 1))
        linear.weight = nn.Parameter(weight, requires_grad=False)
        return linear

    return build, tuple(SUFFIXES[name] for name in sample(PADDED_STEP).__tensor_flatten__()[0])


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor; eight codes of four bits in an INT32 under their own name."""
    tensors = stored_tensors(folder)
    return [replace(item, dtype="int4") if item.dtype == "int32" and item.parameters else item for item in tensors]
