"""Which arithmetic a session really executes, how much, and how long it takes, as the runtime itself tells."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod
from statistics import median
from typing import TYPE_CHECKING

from stages.lib.formats.shared.graphs.shaped_graph import Layer, work_of_calls

if TYPE_CHECKING:
    import onnx
    from diffusers import DiffusionPipeline

# Operations that convolve: which inputs are the image and the weight, and the dtype of their arithmetic.
CONVOLUTIONS = {
    "Conv": (0, 1, "float32"),
    "FusedConv": (0, 1, "float32"),
    "NhwcFusedConv": (0, 1, "float32"),
    "ConvInteger": (0, 1, "int8"),
    "QLinearConv": (0, 3, "int8"),
}
# Operations that multiply matrices: which inputs are the factors, and the dtype of their arithmetic.
MULTIPLICATIONS = {
    "Gemm": (0, 1, "float32"),
    "FusedGemm": (0, 1, "float32"),
    "MatMul": (0, 1, "float32"),
    "FusedMatMul": (0, 1, "float32"),
    "MatMulInteger": (0, 1, "int8"),
    "MatMulIntegerToFloat": (0, 1, "int8"),
    "DynamicQuantizeMatMul": (0, 1, "int8"),
    "QGemm": (0, 3, "int8"),
    "QLinearMatMul": (0, 3, "int8"),
}
# Operations whose results have the channels of what they read.
KEEP_CHANNELS = {
    "Add",
    "Sum",
    "Mul",
    "Relu",
    "Sigmoid",
    "Tanh",
    "LeakyRelu",
    "QuickGelu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Elu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "Upsample",
}
KERNEL = "_kernel_time"
# The first call takes memory and does not count.
PROFILED_CALLS = 4


def executed_work(pipeline: "DiffusionPipeline", components: Sequence[str]) -> list[dict]:
    """What one call of each graph multiplies in; rows as in stages.lib.formats.

    The dtype is that of the kernel, not of its weight: an INT8 weight that the graph first turns into FP32 is
    executed in FP32, and the row says so. Shapes are those of the calls so far; the times are medians of a profiled run
    on zeros.
    """
    return work_of_calls(
        pipeline,
        components,
        lambda graph, shapes: executed_layers(*graph.executed_graph(shapes, calls=PROFILED_CALLS)),
    )


def executed_layers(model: "onnx.ModelProto", events: list[dict]) -> Iterator[Layer]:
    """The multiplying kernels of an optimized graph.

    `events` are those of the runtime's profiler, whose shapes count and whose times are in microseconds.
    """
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    channels = _true_channels(model)
    kernels: dict[str, list[dict]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(KERNEL):
            kernels[event["name"].removesuffix(KERNEL)].append(event)
    for node in model.graph.node:
        if node.op_type == "ReorderInput":
            last = any(item.name == "channels_last" and item.i for item in node.attribute)
            channels[node.output[0]] = _shapes(kernels[node.name][0], "input")[0][-1 if last else 1]
        if node.op_type not in CONVOLUTIONS | MULTIPLICATIONS:
            continue
        runs = kernels[node.name]
        first, second, dtype = (CONVOLUTIONS | MULTIPLICATIONS)[node.op_type]
        inputs, outputs = (_shapes(runs[0], side) for side in ("input", "output"))
        if node.op_type in CONVOLUTIONS:
            operator = f"Conv{len(outputs[0]) - 2}d"
            # Every output is a sum over the weights (out, in / groups, height, width) of its channel. The profiler does
            # not list a constant that its kernel has packed: what stands in the weight's place there is another input.
            weight = constants.get(node.input[second]) or inputs[second]
            filled = channels.get(node.output[0], weight[0]) / weight[0]
            read = min(weight[1], channels.get(node.input[0], weight[1]))  # blocks that are read are filled up, too
            count = round(prod(outputs[0]) * filled) * read * prod(weight[2:])
        else:
            operator = "Linear" if node.input[second] in constants else "MatMul"
            count = prod(outputs[0]) * _inner(node, inputs[first])
        yield Layer(operator, dtype, count, median(event["dur"] for event in runs[1:]) / 1e6)


def _shapes(event: dict, side: str) -> list[tuple[int, ...]]:
    """Of what a kernel was given ("input") or made ("output"), as the profiler lists them."""
    return [tuple(next(iter(item.values()))) for item in event["args"][f"{side}_type_shape"]]


def _true_channels(model: "onnx.ModelProto") -> dict[str, int]:
    """The channels of tensors in blocks, which are filled up with zeros to whole blocks until they are reordered.

    A tensor that only meets another one on the way, as the sum of a residual block, has as many channels as that one.
    """
    found: dict[str, int] = {}
    for node in reversed(model.graph.node):  # readers before what they read
        known = found.get(node.output[0])
        if node.op_type == "ReorderOutput":
            found[node.input[0]] = next(item.i for item in node.attribute if item.name == "channels")
        elif known and node.op_type in CONVOLUTIONS:
            groups = next((item.i for item in node.attribute if item.name == "group"), 1)
            read = node.input[:1] if groups >= known > 1 else []  # a channel of each alone
            found.update(dict.fromkeys([*read, *node.input[3:4]], known))  # the latter is added to the result
        elif known and node.op_type in KEEP_CHANNELS:
            found.update(dict.fromkeys(node.input, known))
    return found


def _inner(node: "onnx.NodeProto", shape: tuple[int, ...]) -> int:
    """Over how many products each element of the result is a sum, from the `shape` of the first factor."""
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return shape[-2 if turned else -1]
