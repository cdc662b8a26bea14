"""Rebuilding the pipeline from the stored graphs."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.openvino.conversion import require_packages
from stages.lib.formats.openvino.networks import Graph
from stages.lib.formats.openvino.precision import mixed_precision, without_activation_rounding
from stages.lib.formats.openvino.storage import let_go_of_constants, read_graph
from stages.lib.formats.shared.choice import load_variant, on_model
from stages.lib.formats.shared.graphs.networks import UNet, stand_in
from stages.lib.formats.shared.graphs.tracing import input_shapes, token_count
from stages.lib.models.components import empty_component
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant

if TYPE_CHECKING:
    import openvino


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". A file that was changed is a UserError."""
    core, variant = cpu_core(variant), on_model(variant, folder)

    def load_converted(component: str) -> nn.Module:
        network = _network(core, folder, component, variant)
        let_go_of_constants(folder, component)
        return network

    pipeline = load_variant(folder, variant, device, load_converted, compute=None)
    if variant.schedule:
        _announce_images(pipeline)
    return pipeline


def cpu_core(variant: Variant) -> "openvino.Core":
    """The runtime. A UserError where the package, or BF16 that the variant computes in, is not there."""
    require_packages("openvino")
    import openvino

    core = openvino.Core()
    asked = {"compute": [variant.compute], "schedule": variant.schedule}
    for key, values in asked.items():
        needy = next((value for value in values if value in ("bfloat16", "mixed")), None)
        if needy and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError(
                f"{PARAMS_FILE}: variants.{variant.name}.{key} has '{needy}', and this processor cannot compute in "
                "bfloat16: use float32 instead, or a processor with AVX512_BF16 or AMX"
            )
    return core


def _network(core: "openvino.Core", folder: Path, component: str, variant: Variant) -> nn.Module:
    network = empty_component(folder, component)
    model = read_graph(core, folder, component)
    shapes = input_shapes(component, network, token_count(folder))
    graph = compiled(core, model, component, variant.compute, shapes, component in variant.rounded_components)
    if component != "unet":
        return stand_in(folder, component, graph)
    scheduled = {
        entry: compiled(core, model, "unet", variant.compute if entry == "none" else entry, shapes, rounded=False)
        for entry in sorted(set(variant.schedule) - {"int8"})
    }
    return UNet(network, graph, scheduled, variant.schedule)


def compiled(
    core: "openvino.Core",
    model: "openvino.Model",
    component: str,
    compute: str,
    shapes: dict[str, tuple[int, ...]],
    rounded: bool,
) -> Graph:
    """The stored graph `model` of a component for arithmetic in `compute`; `rounded`: with INT8 activations, if any.

    "mixed" is FP32 around BF16 products in the U-Net, or around INT8 ones where it is `rounded`: it is called many
    times, and what BF16 loses adds up. The decoder and the safety checker, called once, compute in BF16, the small text
    encoder in FP32.
    """
    if not rounded:
        model = without_activation_rounding(model)
    if compute == "mixed":
        compute = {"unet": "float32", "text_encoder": "float32"}.get(component, "bfloat16")
        model = mixed_precision(model) if component == "unet" and not rounded else model
    return Graph(core, model, compute, shapes)


def _announce_images(pipeline: DiffusionPipeline) -> None:
    """Tell the U-Net when an image begins: then, and only then, the pipeline sets its scheduler's timesteps."""
    set_timesteps = pipeline.scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def announced(*arguments: Any, **options: Any) -> None:
        pipeline.unet.begin_image()
        return set_timesteps(*arguments, **options)

    pipeline.scheduler.set_timesteps = announced
