"""What back end `torch` does: see the package."""

from collections.abc import Collection
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.shared.availability import require_calls
from stages.lib.formats.shared.casting import cast_state
from stages.lib.formats.shared.choice import load_variant, on_model, write_variant
from stages.lib.formats.shared.compiling import compile_network, require_compiler
from stages.lib.formats.shared.devices import compute_dtype, use_tensorfloat32
from stages.lib.formats.shared.quantization import dequantize, quantize_weight
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.formats.torch.activations import measure_ranges, round_inputs, write_ranges
from stages.lib.formats.torch.layers import ROUNDED_LAYERS
from stages.lib.formats.torch.mixed import choose_and_round
from stages.lib.models.calibration import Calls
from stages.lib.models.components import load_component, stored_float_dtype, write_component
from stages.lib.models.inventory import StoredTensor, stored_tensors
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant
from stages.lib.project.variant import DTYPE_BITS


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the components of `variant` in its dtype into the empty folder `out`.

    `calibration` has calls of each component, and is needed where activations are rounded or layers have different
    bits. Raises UserError where a weight is too large for the dtype, or calls are missing.
    """
    variant = on_model(variant, base)
    if variant.activations != "none":
        require_calls(variant, variant.rounded_components, calibration)
    strange = [name for name in variant.components if kind_of(base).role(name) != "denoiser"]
    if variant.mean_bits is not None and strange:
        raise UserError(
            f"{PARAMS_FILE}: 'variants.{variant.name}.mean_bits' keeps layers of the denoiser, but `components` names "
            f"'{strange[0]}': set `components: [denoiser]`"
        )
    spared = spared_layers(variant, base)

    def convert(component: str) -> None:
        model = load_component(base, component, "float32")
        if variant.activations != "none":
            ranges = measure_ranges(model, component, calibration[component])
            ranges = {name: ends for name, ends in ranges.items() if name not in spared[component]}
            write_ranges(ranges, DTYPE_BITS[variant.activations], out / component)
        if variant.mean_bits is not None:
            choose_and_round(model, component, variant, calibration, out / component)
        elif variant.simulated:
            bits, group_size = DTYPE_BITS[variant.weights], variant.scale_group_size
            round_weights(model, bits, variant.granularity, group_size, spared[component])
        write_component(out, component, cast_state(model.state_dict(), variant.stored_dtype, base / component))

    write_variant(base, variant, out, variant.stored_dtype, convert)


def round_weights(
    model: nn.Module, bits: int, granularity: str, group_size: int | None = None, spared: Collection[str] = ()
) -> None:
    """Round the weights of convolutions, linear layers and embeddings but the `spared` to integers, and back."""
    for name, module in model.named_modules():
        if isinstance(module, ROUNDED_LAYERS) and name not in spared:
            rounded = quantize_weight(module.weight, bits, granularity, group_size)
            module.weight.copy_(dequantize(*rounded, group_size))


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote, on `device` ("cpu" or "cuda").

    TF32 is a setting of the process, made here for a variant that computes in it and by nobody else. A network that is
    to be compiled is compiled in its first call.
    """
    variant = on_model(variant, folder)
    if variant.compute == "tensorfloat32" and device == "cuda":
        use_tensorfloat32()
    if variant.compile:
        require_compiler(variant, device)

    def load_converted(component: str) -> nn.Module:
        network = load_component(folder, component, stored_float_dtype(folder, component))
        if variant.activations != "none":
            round_inputs(network, folder / component, DTYPE_BITS[variant.activations])
        network.to(device)
        return network.to(memory_format=torch.channels_last) if variant.memory_format == "channels_last" else network

    pipeline = load_variant(folder, variant, device, load_converted, compute_dtype(variant, device))
    if variant.compile:
        for component in variant.components:
            compile_network(getattr(pipeline, component), variant.compile)
    return pipeline


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, tensor by tensor."""
    return stored_tensors(folder)
