"""A network of the pipeline as an ONNX graph, straight from its PyTorch module."""

from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import nn

from stages.lib.formats.shared.graphs import packages
from stages.lib.formats.shared.graphs.tracing import TRACED, check_supported, example_inputs, quiet_tracing
from stages.lib.models.components import load_component

if TYPE_CHECKING:
    import onnx

# The newest set of operators that PyTorch's tracing exporter writes.
OPSET = 20
# Dimensions that are left open; a session fixes them (stages.lib.formats.onnxruntime.sessions).
OPEN_DIMENSIONS = {
    "sample": {0: "batch", 2: "height", 3: "width"},
    "text": {0: "batch"},
    "latents": {0: "batch", 2: "height", 3: "width"},
    "tokens": {0: "batch"},
    "pixels": {0: "batch"},
}
# What the constant is to the layer whose operation uses it: the exporter transposes and reshapes some parameters.
ROLES = {"Conv": "weight", "Gemm": "weight", "MatMul": "weight", "Mul": "weight", "Add": "bias"}


def require_packages() -> None:
    """Raise a UserError unless the optional packages are installed."""
    packages.require_packages("onnxruntime", ("onnx", "onnxruntime"), "pip install onnx onnxruntime")


def convert(base: Path, component: str, tokens: int) -> "onnx.ModelProto":
    """The FP32 graph of one network, its constants named as the parameters that they stand for.

    PyTorch's tracing exporter is used: it names operations after the layers that they come from, which is how constants
    find their parameters, and needs no further package. Same network, same graph.
    """
    import onnx

    network = load_component(base, component, "float32")
    check_supported("onnxruntime", component, network, base)
    example = example_inputs(component, network, tokens)
    with TemporaryDirectory() as temporary, quiet_tracing(), torch.no_grad():
        path = Path(temporary, "graph.onnx")
        torch.onnx.export(
            TRACED[component](network).eval(),
            tuple(example.values()),
            path,
            input_names=list(example),
            output_names=["output"],
            dynamic_axes={name: OPEN_DIMENSIONS[name] for name in example if name in OPEN_DIMENSIONS},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(path)
    _name_constants(model.graph, network)
    return model


def _name_constants(graph: "onnx.GraphProto", network: nn.Module) -> None:
    """Give each constant the name of its parameter, or else a number in the order of the graph."""
    elements = {name: parameter.numel() for name, parameter in network.named_parameters()}
    users = {name: node for node in reversed(graph.node) for name in node.input}
    names: dict[str, str] = {}
    for number, tensor in enumerate(graph.initializer):
        name = tensor.name.removeprefix("network.")
        if name not in elements:
            user = users[tensor.name]
            layer = ".".join(user.name.strip("/").split("/")[:-1]).removeprefix("network.")
            name = f"{layer}.{ROLES.get(user.op_type)}"
        known = elements.get(name) == prod(tensor.dims) and name not in names.values()
        names[tensor.name] = name if known else f"constant_{number}"
        tensor.name = names[tensor.name]
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
