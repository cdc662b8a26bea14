"""What back end `sdnq` does: see the package."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.sdnq.layers import BESIDE, built, quantize_network
from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.components import load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors, unpacked
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import Variant

MANIFEST = "quantization.json"


def quantize(base: Path, variant: Variant, out: Path) -> None:
    """Write `base` with the chosen components quantized into the empty folder `out`."""
    variant = on_model(variant, base)
    dtype, spared = compute_dtype(variant, "cpu"), spared_layers(variant, base)

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        names = quantize_network(model, variant, spared[component], getattr(torch, dtype))
        state = model.state_dict()
        own = ("weight", *BESIDE[variant.weights])
        stored = {f"{name}.{part}": state.pop(f"{name}.{part}") for name in names for part in own}
        stored = {_stored_name(name): tensor for name, tensor in stored.items()}
        write_json(out / component / MANIFEST, {"method": "sdnq", "weights": variant.weights, "layers": names})
        write_component(out, component, cast_state(state, dtype, base / component) | stored)

    write_variant(base, variant, out, dtype, convert)


def _stored_name(name: str) -> str:
    """`weight_scale` for SDNQ's `scale`, as all back ends call it."""
    layer, _, part = name.rpartition(".")
    return name if part == "weight" else f"{layer}.weight_{part}"


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda")."""
    variant = on_model(variant, folder)
    compute = compute_dtype(variant, "cpu")
    suffixes = ("", *(f"_{part}" for part in BESIDE[variant.weights]))

    def build(layer: nn.Module, *tensors: torch.Tensor) -> nn.Module:
        return built(layer, variant, getattr(torch, compute), *tensors)

    def load_converted(component: str) -> nn.Module:
        names = read_json(folder / component / MANIFEST)["layers"]
        return rebuild_component(folder, component, names, suffixes, build).to(device)

    return load_variant(folder, variant, device, load_converted, compute)


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor; integers of four bits, two in a byte, under their own name."""
    return unpacked(stored_tensors(folder), variant.weights)
