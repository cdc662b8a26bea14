"""What back end `gguf` does: see the package."""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn
from torch.nn.utils import parametrize

from stages.lib.formats.gguf.blocks import Unpacked, block_type, pack
from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.formats.shared.linears import free_linears
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.components import load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.project.files import read_json, write_json
from stages.lib.project.params import Variant

MANIFEST = "quantization.json"


def quantize(base: Path, variant: Variant, out: Path) -> None:
    """Write `base` with the Linear layers of the chosen components in blocks into the empty folder `out`."""
    variant = on_model(variant, base)
    spared = spared_layers(variant, base)

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        state = model.state_dict()
        names = free_linears(model, spared[component])
        widths = {name: model.get_submodule(name).in_features for name in names}
        types = {name: block_type(variant.weights, width) for name, width in widths.items()}
        types = {f"{name}.weight": kind for name, kind in types.items() if kind}
        vectors = {name: tensor for name, tensor in state.items() if tensor.ndim < 2}
        others = {name: tensor for name, tensor in state.items() if name not in types.keys() | vectors.keys()}
        blocks = {name: pack(state[name], kind) for name, kind in types.items()}
        write_json(out / component / MANIFEST, {"method": "gguf", "types": types})
        write_component(out, component, vectors | cast_state(others, "float16", base / component) | blocks)

    write_variant(base, variant, out, "float16", convert)


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda")."""
    variant = on_model(variant, folder)
    compute = compute_dtype(variant, "cpu")

    def build(linear: nn.Linear, blocks: torch.Tensor) -> nn.Linear:
        linear.weight = nn.Parameter(blocks, requires_grad=False)
        unpacked = Unpacked(block_type(variant.weights, linear.in_features), getattr(torch, compute))
        parametrize.register_parametrization(linear, "weight", unpacked, unsafe=True)
        return linear

    def load_converted(component: str) -> nn.Module:
        names = [name.removesuffix(".weight") for name in read_json(folder / component / MANIFEST)["types"]]
        return rebuild_component(folder, component, names, ("",), build).to(device)

    return load_variant(folder, variant, device, load_converted, compute)


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor; blocks under the name of their type."""
    tensors = stored_tensors(folder)
    chosen = on_model(variant, folder).components
    types = {part: read_json(folder / part / MANIFEST)["types"] for part in chosen}
    return [replace(item, dtype=types.get(item.component, {}).get(item.name, item.dtype)) for item in tensors]
