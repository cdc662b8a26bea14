"""What back end `torch` does: see the package."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from stages.lib.formats.shared.casting import cast_state, compute_in
from stages.lib.formats.shared.compiling import compile_network, require_compiler
from stages.lib.formats.shared.devices import arithmetic_dtype, compute_dtype, native_dtype, use_tensorfloat32
from stages.lib.formats.shared.quantization import dequantize, quantize_weight
from stages.lib.formats.torch.activations import measure_ranges, round_inputs, write_ranges
from stages.lib.formats.torch.layers import ROUNDED_LAYERS
from stages.lib.formats.torch.mixed import choose_and_round
from stages.lib.models.calibration import Inputs, require_inputs
from stages.lib.models.components import (
    assemble,
    copy_companions,
    load_component,
    stored_float_dtype,
    write_component,
)
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.project.params import COMPONENTS, Variant
from stages.lib.project.variant import DTYPE_BITS


def quantize(base: Path, variant: Variant, out: Path, calibration: Inputs | None = None) -> None:
    """Write `base` with the components of `variant` in its dtype into the empty folder `out`.

    `calibration` has the inputs of each component, named as in stages.lib.models.calibration, and is needed where
    activations are rounded or layers have different bits. One component is in memory at a time. Raises UserError where
    a weight is too large for the dtype, or inputs are missing.
    """
    if variant.activations != "none":
        require_inputs(variant, calibration)
    dtypes = {
        component: variant.stored_dtype if component in variant.components else stored_float_dtype(base, component)
        for component in COMPONENTS
    }
    copy_companions(base, out, dtypes)
    for component in COMPONENTS:
        if component not in variant.components:
            write_component(out, component, load_component(base, component, dtypes[component]).state_dict())
            continue
        model = load_component(base, component, "float32")
        if variant.activations != "none":
            ranges = measure_ranges(model, component, calibration[component])
            write_ranges(ranges, DTYPE_BITS[variant.activations], out / component)
        if variant.mean_bits is not None:
            choose_and_round(model, variant, calibration, out / component)
        elif variant.simulated:
            round_weights(model, DTYPE_BITS[variant.weights], variant.granularity, variant.scale_group_size)
        write_component(out, component, cast_state(model.state_dict(), dtypes[component], base / component))


def round_weights(model: nn.Module, bits: int, granularity: str, group_size: int | None = None) -> None:
    """Round the weights of convolutions, linear layers and embeddings to integers and back, in place."""
    for module in model.modules():
        if isinstance(module, ROUNDED_LAYERS):
            rounded = quantize_weight(module.weight, bits, granularity, group_size)
            module.weight.copy_(dequantize(*rounded, group_size))


def load(folder: Path, variant: Variant, device: str) -> StableDiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda").

    TF32 is a setting of the process, made here for a variant that computes in it and by nobody else. A network that is
    to be compiled is compiled in its first call.
    """
    if variant.compute == "tensorfloat32" and device == "cuda":
        use_tensorfloat32()
    if variant.compile:
        require_compiler(variant, device)
    computes = {}
    networks = {}
    for component in COMPONENTS:
        stored = stored_float_dtype(folder, component)
        converted = component in variant.components
        wanted = compute_dtype(variant, device) if converted else native_dtype(stored, device)
        computes[component] = arithmetic_dtype(wanted)
        network = load_component(folder, component, stored)
        if converted and variant.activations != "none":
            round_inputs(network, component, folder / component, DTYPE_BITS[variant.activations])
        networks[component] = network.to(device)
        if converted and variant.memory_format == "channels_last":
            network.to(memory_format=torch.channels_last)
    pipeline = assemble(folder, networks)
    for component, network in networks.items():
        compute_in(network, component, computes[component])
        if variant.compile and component in variant.components:
            compile_network(network, component, variant.compile)
    return pipeline


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor."""
    return stored_tensors(folder)
