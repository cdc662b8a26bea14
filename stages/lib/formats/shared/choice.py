"""Which networks of a model a variant converts, and the frame of making and loading one that all back ends share."""

from collections.abc import Callable
from pathlib import Path

from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.shared.casting import compute_in
from stages.lib.formats.shared.devices import arithmetic_dtype, native_dtype
from stages.lib.models.assembly import assemble
from stages.lib.models.components import copy_companions, load_component, stored_float_dtype, write_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant


def on_model(variant: Variant, folder: Path) -> Variant:
    """The variant with the names of networks of the model in `folder` in place of roles; again, it is the same.

    A name that the model does not have, and a key that is about a network that is not converted, are a UserError.
    """
    kind, key = kind_of(folder), f"{PARAMS_FILE}: 'variants.{variant.name}"
    chosen = {"components": kind.chosen(variant.components, f"variants.{variant.name}.components")}
    rounded = getattr(variant, "activation_components", None)
    if rounded is not None:
        chosen["activation_components"] = kind.chosen(rounded, f"variants.{variant.name}.activation_components")
        stranger = next((name for name in chosen["activation_components"] if name not in chosen["components"]), None)
        if stranger:
            raise UserError(f"{key}.activation_components' has '{stranger}', which is not one of `components`")
    found, denoisers = variant.model_copy(update=chosen), set(kind.of_role("denoiser"))
    if found.call_precisions and not denoisers & set(found.components):
        raise UserError(f"{key}.schedule' gives calls of the denoiser a precision: name it in `components`")
    entry = next((item for item in found.call_precisions if item in ("int8", "none")), None)
    if entry and not denoisers & set(found.rounded_components):
        raise UserError(
            f"{key}.schedule' has '{entry}', which says whether activations of the denoiser are INT8, but it has none: "
            "use float32, mixed or bfloat16"
        )
    return found


def write_variant(base: Path, variant: Variant, out: Path, dtype: str, convert: Callable[[str], None]) -> None:
    """Write a variant of `base` into the empty folder `out`: `convert(component)` writes each network that it converts.

    The others are as in `base`. `dtype` is what the converted ones' configurations shall say. One network is in memory
    at a time.
    """
    networks = kind_of(base).networks
    dtypes = {name: dtype if name in variant.components else stored_float_dtype(base, name) for name in networks}
    copy_companions(base, out, dtypes)
    for name in networks:
        if name in variant.components:
            convert(name)
        else:
            write_component(out, name, load_component(base, name, dtypes[name]).state_dict())


def load_variant(
    folder: Path, variant: Variant, device: str, load: Callable[[str], nn.Module], compute: str | None
) -> DiffusionPipeline:
    """The pipeline of a variant's `folder`: `load(component)` gives each network that it converts, on `device`.

    Those compute in `compute`, or as they do (None: a runtime of their own); the others in what is native to the dtype
    that they are stored in. Everything that networks exchange is FP32.
    """
    networks, computes = {}, {}
    for name in kind_of(folder).networks:
        if name in variant.components:
            networks[name], computes[name] = load(name), compute and arithmetic_dtype(compute)
        else:
            stored = stored_float_dtype(folder, name)
            networks[name], computes[name] = (
                load_component(folder, name, stored).to(device),
                native_dtype(stored, device),
            )
    pipeline = assemble(folder, networks)
    for name, network in networks.items():
        if computes[name]:
            compute_in(network, upcast(pipeline, network, computes[name]))
    return pipeline


def upcast(pipeline: DiffusionPipeline, network: nn.Module, compute: str) -> str:
    """FP32 for a decoder that the pipeline itself would not let compute in FP16, where it overflows (SDXL's)."""
    overflows = hasattr(pipeline, "upcast_vae") and getattr(network.config, "force_upcast", False)
    return "float32" if compute == "float16" and overflows else compute
