"""What back end `layerwise` does: see the package."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.hooks import apply_layerwise_casting
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from torch import nn

from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.components import empty_component, load_component, rebuild_component, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant

STORED = torch.float8_e4m3fn
LARGEST = torch.finfo(STORED).max


def quantize(base: Path, variant: Variant, out: Path) -> None:
    """Write `base` with the chosen components in FP8 and the compute dtype into the empty folder `out`."""
    variant = on_model(variant, base)
    dtype, spared = compute_dtype(variant, "cpu"), spared_layers(variant, base)

    def convert(component: str) -> None:
        chosen = cast_names(empty_component(base, component), getattr(torch, dtype))
        chosen = {name for name in chosen if name.rpartition(".")[0] not in spared[component]}
        state = load_component(base, component, "float32").state_dict()
        cast = {name: tensor for name, tensor in state.items() if name in chosen}
        kept = {name: tensor for name, tensor in state.items() if name not in chosen}
        write_component(out, component, cast_state(kept, dtype, base / component) | _in_float8(cast, base / component))

    write_variant(base, variant, out, dtype, convert)


def cast_names(network: nn.Module, compute: torch.dtype) -> set[str]:
    """The names of the tensors of a network without weights that diffusers' layerwise casting stores in FP8."""
    if isinstance(network, ModelMixin):
        network.enable_layerwise_casting(storage_dtype=STORED, compute_dtype=compute)
    else:
        skipped = (*DEFAULT_SKIP_MODULES_PATTERN, *(getattr(network, "_keep_in_fp32_modules", None) or ()))
        apply_layerwise_casting(network, STORED, compute, skip_modules_pattern=skipped)
    return {name for name, tensor in network.state_dict().items() if tensor.dtype == STORED}


def _in_float8(state: dict[str, torch.Tensor], source: Path) -> dict[str, torch.Tensor]:
    """The tensors of `state` in FP8; names of one tensor stay so. One that overflows is a UserError with `source`."""
    once: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for name, tensor in state.items():
        if (largest := tensor.abs().max().item()) > LARGEST:
            raise UserError(
                f"{source}: tensor '{name}' has the magnitude {largest:.6g}, too large for float8 (at most "
                f"{LARGEST:g}): leave '{source.name}' out of `components`"
            )
    return {
        name: once.setdefault((tensor.data_ptr(), tensor.shape), tensor.to(STORED)) for name, tensor in state.items()
    }


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda")."""
    variant = on_model(variant, folder)

    def load_converted(component: str) -> nn.Module:
        return rebuild_component(folder, component, [], (), nn.Identity).to(device)

    return load_variant(folder, variant, device, load_converted, compute_dtype(variant, "cpu"))


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor."""
    return stored_tensors(folder)
