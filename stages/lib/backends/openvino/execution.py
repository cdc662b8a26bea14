"""Which arithmetic a compiled graph really executes, as the runtime itself names its kernels."""

from collections import Counter
from pathlib import Path

from stages.lib.backends.openvino.loading import load
from stages.lib.backends.openvino.networks import Graph
from stages.lib.params import Variant

ARITHMETIC = {"i8": "int8", "u8": "int8", "bf16": "bfloat16", "f16": "float16", "f32": "float32"}
MULTIPLYING = {"Convolution": "Conv2d", "FullyConnected": "Linear", "MatMul": "MatMul"}


def executed_precisions(folder: Path, variant: Variant) -> list[dict]:
    """Layers that multiply matrices, by component, graph, operator and the dtype they are executed in.

    Each row: component, graph ("main", or "unquantized" for the U-Net calls that a schedule spares), operator (Conv2d,
    Linear, MatMul), dtype (int8, bfloat16, float32), layers (how many). The dtype is that of the kernel ("..._I8"),
    not of its weights: a kernel that unpacks INT8 weights and multiplies in BF16 counts as BF16. Attention that the
    runtime fuses with its softmax is not listed.
    """
    pipeline = load(folder, variant, "cpu")
    layers: Counter[tuple[str, str, str, str]] = Counter()
    for component in variant.components:
        for name, graph in getattr(pipeline, component).named_modules():
            if isinstance(graph, Graph):
                role = "unquantized" if name == "unquantized" else "main"
                for operator, dtype in executed_layers(graph):
                    layers[component, role, operator, dtype] += 1
    return [
        {"component": component, "graph": role, "operator": operator, "dtype": dtype, "layers": count}
        for (component, role, operator, dtype), count in sorted(layers.items())
    ]


def executed_layers(graph: Graph) -> list[tuple[str, str]]:
    """Operator and dtype of each multiplying layer of a graph, from the runtime's own description of it."""
    layers = []
    for compiled, _ in graph.compiled.values():
        for node in compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            operator = MULTIPLYING.get(info["layerType"].astype(str))
            if operator:
                layers.append((operator, ARITHMETIC[info["primitiveType"].astype(str).lower().rpartition("_")[2]]))
    return layers
