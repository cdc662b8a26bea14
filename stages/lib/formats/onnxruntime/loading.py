"""Rebuilding the pipeline from the stored graphs."""

from pathlib import Path

from diffusers import StableDiffusionPipeline
from torch import nn

from stages.lib.formats.onnxruntime.conversion import require_packages
from stages.lib.formats.onnxruntime.sessions import Graph
from stages.lib.formats.onnxruntime.storage import read_graph
from stages.lib.formats.shared.casting import compute_in
from stages.lib.formats.shared.graphs.networks import stand_in
from stages.lib.formats.shared.graphs.tracing import input_shapes, token_count
from stages.lib.models.components import assemble, empty_component, load_component, stored_float_dtype
from stages.lib.project.params import COMPONENTS, Variant


def load(folder: Path, variant: Variant, device: str) -> StableDiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". A file that was changed is a UserError."""
    require_packages()
    networks: dict[str, nn.Module] = {}
    for component in COMPONENTS:
        if component in variant.components:
            shapes = input_shapes(component, empty_component(folder, component), token_count(folder))
            graph = Graph(read_graph(folder, component), folder / component, shapes)
            networks[component] = stand_in(folder, component, graph)
        else:
            networks[component] = load_component(folder, component, stored_float_dtype(folder, component))
    pipeline = assemble(folder, networks)
    for component in COMPONENTS:
        if component not in variant.components:
            compute_in(networks[component], component, "float32")
    return pipeline
