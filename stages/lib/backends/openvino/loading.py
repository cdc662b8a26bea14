"""Rebuilding the pipeline from the stored graphs."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import StableDiffusionPipeline
from torch import nn

from stages.lib.backends.openvino.conversion import require_packages
from stages.lib.backends.openvino.networks import Graph
from stages.lib.backends.openvino.storage import read_graph
from stages.lib.backends.torch import compute_in
from stages.lib.components import assemble, empty_component, load_component, stored_float_dtype
from stages.lib.errors import UserError
from stages.lib.graphs.networks import UNet, stand_in
from stages.lib.graphs.tracing import input_shapes, token_count
from stages.lib.params import COMPONENTS, PARAMS_FILE, Variant

if TYPE_CHECKING:
    import openvino


def load(folder: Path, variant: Variant, device: str) -> StableDiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". A file that was changed is a UserError."""
    core = cpu_core(variant)
    networks = {}
    for component in COMPONENTS:
        if component in variant.components:
            networks[component] = _network(core, folder, component, variant)
        else:
            networks[component] = load_component(folder, component, stored_float_dtype(folder, component))
    pipeline = assemble(folder, networks)
    for component in COMPONENTS:
        if component not in variant.components:
            compute_in(networks[component], component, "float32")
    if variant.schedule:
        _announce_pictures(pipeline)
    return pipeline


def cpu_core(variant: Variant) -> "openvino.Core":
    """The runtime. A UserError where the package, or BF16 that the variant computes in, is not there."""
    require_packages("openvino")
    import openvino

    core = openvino.Core()
    if variant.compute == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError(
            f"{PARAMS_FILE}: variants.{variant.name}.compute is 'bfloat16', which this processor cannot compute in: "
            "set it to float32, or use a processor with AVX512_BF16 or AMX"
        )
    return core


def _network(core: "openvino.Core", folder: Path, component: str, variant: Variant) -> nn.Module:
    network = empty_component(folder, component)
    model = read_graph(core, folder, component)
    shapes = input_shapes(component, network, token_count(folder))
    graph = Graph(core, model, variant.compute, shapes)
    if component == "unet":
        spared = None
        if "none" in variant.schedule:
            spared = Graph(core, without_activation_rounding(model), variant.compute, shapes)
        return UNet(network, graph, spared, variant.schedule)
    return stand_in(folder, component, graph)


def without_activation_rounding(model: "openvino.Model") -> "openvino.Model":
    """A copy of a fully quantized graph whose activations are not rounded; its INT8 weights are the same."""
    copy = model.clone()
    for node in copy.get_ops():
        if node.get_type_name() == "FakeQuantize":
            node.output(0).replace(node.input_value(0))
    copy.validate_nodes_and_infer_types()
    return copy


def _announce_pictures(pipeline: StableDiffusionPipeline) -> None:
    """Tell the U-Net when a picture begins: then, and only then, the pipeline sets its scheduler's timesteps."""
    set_timesteps = pipeline.scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def announced(*arguments: Any, **options: Any) -> None:
        pipeline.unet.begin_picture()
        return set_timesteps(*arguments, **options)

    pipeline.scheduler.set_timesteps = announced
