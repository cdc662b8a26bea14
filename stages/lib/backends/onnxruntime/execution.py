"""Which arithmetic a session really executes, from the graph that the runtime made of the stored one."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.backends.onnxruntime.loading import load
from stages.lib.backends.onnxruntime.sessions import Graph
from stages.lib.params import Variant

if TYPE_CHECKING:
    import onnx

# Operations that convolve, and the dtype of their arithmetic.
CONVOLUTIONS = {
    "Conv": "float32",
    "FusedConv": "float32",
    "NhwcFusedConv": "float32",
    "ConvInteger": "int8",
    "QLinearConv": "int8",
}
# Operations that multiply matrices: which input the weight is, and the dtype of their arithmetic.
MULTIPLICATIONS = {
    "Gemm": (1, "float32"),
    "FusedGemm": (1, "float32"),
    "MatMul": (1, "float32"),
    "FusedMatMul": (1, "float32"),
    "MatMulInteger": (1, "int8"),
    "MatMulIntegerToFloat": (1, "int8"),
    "DynamicQuantizeMatMul": (1, "int8"),
    "QGemm": (3, "int8"),
    "QLinearMatMul": (3, "int8"),
}


def executed_precisions(folder: Path, variant: Variant) -> list[dict]:
    """Layers that multiply matrices, by component, graph, operator and the dtype they are executed in.

    Each row: component, graph ("main"), operator (Conv2d, Linear, or MatMul where no factor is a constant), dtype (int8
    or float32), layers (how many). An INT8 weight that the graph first turns into FP32 is multiplied in FP32, and the
    row says so.
    """
    pipeline = load(folder, variant, "cpu")
    layers: Counter[tuple[str, str, str]] = Counter()
    for component in variant.components:
        for graph in getattr(pipeline, component).modules():
            if isinstance(graph, Graph):
                for executed in graph.executed_graphs():
                    for operator, dtype in executed_layers(executed):
                        layers[component, operator, dtype] += 1
    return [
        {"component": component, "graph": "main", "operator": operator, "dtype": dtype, "layers": count}
        for (component, operator, dtype), count in sorted(layers.items())
    ]


def executed_layers(model: "onnx.ModelProto") -> list[tuple[str, str]]:
    """Operator and dtype of each multiplying layer of an optimized graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    layers = []
    for node in model.graph.node:
        if node.op_type in CONVOLUTIONS:
            layers.append(("Conv2d", CONVOLUTIONS[node.op_type]))
        elif node.op_type in MULTIPLICATIONS:
            weight, dtype = MULTIPLICATIONS[node.op_type]
            layers.append(("Linear" if node.input[weight] in constants else "MatMul", dtype))
    return layers
