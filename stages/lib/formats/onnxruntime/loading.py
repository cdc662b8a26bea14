"""Rebuilding the pipeline from the stored graphs."""

from pathlib import Path

from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.onnxruntime.conversion import require_packages
from stages.lib.formats.onnxruntime.sessions import Graph
from stages.lib.formats.onnxruntime.storage import read_graph
from stages.lib.formats.shared.choice import load_variant, on_model
from stages.lib.formats.shared.graphs.graph_call import read_graph_call
from stages.lib.formats.shared.graphs.networks import stand_in
from stages.lib.project.params import Variant


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". A file that was changed is a UserError."""
    require_packages()

    def load_converted(component: str) -> nn.Module:
        described = read_graph_call(folder, component)
        return stand_in(folder, component, Graph(read_graph(folder, component), folder / component, described))

    return load_variant(folder, on_model(variant, folder), device, load_converted, compute=None)
