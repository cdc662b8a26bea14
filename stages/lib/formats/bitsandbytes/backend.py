"""What back end `bitsandbytes` does: see the package."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.bitsandbytes.layers import built, packed
from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.formats.shared.linears import free_linears
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.components import load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors, unpacked
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import Variant

MANIFEST = "quantization.json"


def quantize(base: Path, variant: Variant, out: Path) -> None:
    """Write `base` with the Linear layers of the chosen components quantized into the empty folder `out`."""
    variant = on_model(variant, base)
    dtype, spared = compute_dtype(variant, "cpu"), spared_layers(variant, base)

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        state = cast_state(model.state_dict(), dtype, base / component)
        names = free_linears(model, spared[component])
        for name in names:
            state |= packed(f"{name}.weight", state[f"{name}.weight"], variant.weights, base / component)
        write_json(out / component / MANIFEST, {"method": "bitsandbytes", "weights": variant.weights, "linear": names})
        write_component(out, component, state)

    write_variant(base, variant, out, dtype, convert)


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda")."""
    variant = on_model(variant, folder)
    dtype = compute_dtype(variant, "cpu")

    def build(linear: nn.Linear, weight: torch.Tensor, scale: torch.Tensor) -> nn.Linear:
        return built(linear, weight.to(device), scale.to(device), variant.weights, getattr(torch, dtype))

    def load_converted(component: str) -> nn.Module:
        names = read_json(folder / component / MANIFEST)["linear"]
        return rebuild_component(folder, component, names, ("", "_scale"), build).to(device)

    return load_variant(folder, variant, device, load_converted, dtype)


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor; codes of four bits, two in a byte, under their own name."""
    return unpacked(stored_tensors(folder), variant.weights)
