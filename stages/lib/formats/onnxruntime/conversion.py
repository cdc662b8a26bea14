"""A network of the pipeline as an ONNX graph, straight from its PyTorch module."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from stages.lib.formats.shared.graphs import packages
from stages.lib.formats.shared.graphs.tracing import Traced, not_exportable, tracing

if TYPE_CHECKING:
    import onnx

# The newest set of operators that PyTorch's tracing exporter writes.
OPSET = 20
# What the constant is to the layer whose operation uses it: the exporter transposes and reshapes some parameters.
ROLES = {"Conv": "weight", "Gemm": "weight", "MatMul": "weight", "Mul": "weight", "Add": "bias"}


def require_packages() -> None:
    """Raise a UserError unless the optional packages are installed."""
    packages.require_packages("onnxruntime", ("onnx", "onnxruntime"), "pip install onnx onnxruntime")


def convert(traced: Traced) -> "onnx.ModelProto":
    """The FP32 graph of one network, its constants named as the parameters that they stand for.

    PyTorch's tracing exporter is used: it names operations after the layers that they come from, which is how constants
    find their parameters, and needs no further package. Same network, same graph. Open dimensions are called
    `dimension` of their input; a session fixes them (stages.lib.formats.onnxruntime.sessions). A network with an
    operation that ONNX does not have raises CannotMake.
    """
    import onnx

    open_dimensions = traced.described(traced.names).open_dimensions
    with TemporaryDirectory() as temporary, tracing(), _known_operations(), torch.no_grad():
        path = Path(temporary, "graph.onnx")
        try:
            torch.onnx.export(
                traced.eval(),
                traced.example,
                path,
                input_names=list(traced.names),
                output_names=[f"output {number}" for number in range(len(traced.outputs))],
                dynamic_axes={
                    name: {place: dimension(name, place) for place in found} for name, found in open_dimensions.items()
                },
                opset_version=OPSET,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise not_exportable(traced, error) from None
        model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if (
                node.op_type == "Transpose" and attribute.name == "perm"
            ):  # the exporter leaves some counted from the end
                attribute.ints[:] = [place % len(attribute.ints) for place in attribute.ints]
    _name_constants(model.graph, traced.network)
    return model


@contextmanager
def _known_operations() -> Iterator[None]:
    """Some operations in words that this set of operators has, and that the exporter gets right.

    RMS normalization is written out, for which there is nothing. What is not 1 stays where it is squeezed: the exporter
    would make a branch, and the runtime refuses the side that is never taken. Truths are numbers before they are added
    up. Repetitions are along a dimension that is counted from the front: else they get one dimension too many.
    """
    own, tensor = functional.rms_norm, torch.Tensor
    squeeze, repeat, cumsum = tensor.squeeze, tensor.repeat_interleave, tensor.cumsum

    def rms_norm(
        values: torch.Tensor, shape: Sequence[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> torch.Tensor:
        least = torch.finfo(values.dtype).eps if eps is None else eps
        mean = values.pow(2).mean(tuple(range(-len(shape), 0)), keepdim=True)
        normalized = values * torch.rsqrt(mean + least)
        return normalized if weight is None else normalized * weight

    def squeezed(values: torch.Tensor, *dimensions: int) -> torch.Tensor:
        stays = len(dimensions) == 1 and values.shape[dimensions[0]] != 1
        return values if stays else squeeze(values, *dimensions)

    def repeated(values: torch.Tensor, repeats: Any, dim: int | None = None, **options: Any) -> torch.Tensor:
        return repeat(values, repeats, dim if dim is None else dim % values.ndim, **options)

    def added(values: torch.Tensor, *dimension: int, **options: Any) -> torch.Tensor:
        return cumsum(values.long() if values.dtype == torch.bool else values, *dimension, **options)

    functional.rms_norm, tensor.squeeze, tensor.repeat_interleave, tensor.cumsum = rms_norm, squeezed, repeated, added
    try:
        yield
    finally:
        functional.rms_norm, tensor.squeeze, tensor.repeat_interleave, tensor.cumsum = own, squeeze, repeat, cumsum


def dimension(name: str, place: int) -> str:
    """What an open dimension of an input is called."""
    return f"{name} {place}"


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
