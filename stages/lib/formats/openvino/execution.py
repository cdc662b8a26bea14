"""Which arithmetic a compiled graph really executes, how much, and how long it takes, as the runtime itself tells."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import isqrt, prod
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.openvino.networks import Graph
from stages.lib.formats.shared.graphs.shaped_graph import Layer, Shapes, work_of_calls

if TYPE_CHECKING:
    import openvino
    from diffusers import DiffusionPipeline

ARITHMETIC = {"i8": "int8", "u8": "int8", "bf16": "bfloat16", "f16": "float16", "f32": "float32"}
MULTIPLYING = {"Convolution": "Conv", "FullyConnected": "Linear", "MatMul": "MatMul"}
# Kernels into which the runtime fuses both products of attention with the softmax between them.
FUSED = ("Subgraph", "ScaledDotProductAttention")
PROFILED_CALLS = 3


def executed_work(pipeline: "DiffusionPipeline", components: Sequence[str]) -> list[dict]:
    """What one call of each graph multiplies in; rows as in stages.lib.formats.

    `graph` is "main", or for the denoiser's calls that a schedule spares "unquantized" (its entry "none") or the dtype
    that its entry names. The dtype is that of the kernel ("..._I8"), not of its weights: a kernel that unpacks INT8
    weights and multiplies in BF16 counts as BF16. Of attention that is one kernel with its softmax, each product counts
    in the dtype in which its factors enter, and the kernel's time, softmax included, is shared out by
    multiply-accumulates. Shapes are those of the calls so far; the times are medians of a profiled run on zeros.
    """
    return work_of_calls(pipeline, components, executed_layers)


def executed_layers(graph: Graph, shapes: Shapes) -> Iterator[Layer]:
    """The multiplying kernels of a graph, compiled once more with the runtime's profiler on."""
    products = {node.get_friendly_name(): _products(node) for node in graph.reshaped(shapes).get_ops()}
    compiled = graph.compiled(shapes, PERF_COUNT=True)
    times_s = _profile(compiled)
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        kind, name = info["layerType"].astype(str), node.get_friendly_name()
        if kind in MULTIPLYING:
            dtype = ARITHMETIC[info["primitiveType"].astype(str).lower().rpartition("_")[2]]
            dimensions = f"{len(node.get_output_shape(0)) - 2}d" if kind == "Convolution" else ""
            operator = f"{MULTIPLYING[kind]}{dimensions}"
            yield Layer(operator, dtype, _multiply_accumulates(kind, node), times_s[name])
        elif kind in FUSED:
            originals = info["originalLayersNames"].astype(str).split(",")
            fused = [product for name in originals for product in products.get(name, ())]
            if len(fused) == 1 and "softmax" in info["originalLayersNames"].astype(str):
                # That of queries and keys: a scale that is drawn into it takes its name away.
                fused.insert(0, (prod(node.get_input_shape(0)) * fused[0][2], 0, 0))
            if fused:  # others are not timed
                yield from _fused_products(node, fused, times_s[name])


def _profile(compiled: "openvino.CompiledModel") -> dict[str, float]:
    """Seconds of each kernel in one call, by its name."""
    inputs = [np.zeros(list(item.shape), dtype=item.element_type.to_dtype()) for item in compiled.inputs]
    request = compiled.create_infer_request()
    request.infer(inputs)
    samples_s: dict[str, list[float]] = defaultdict(list)
    for _ in range(PROFILED_CALLS):
        request.infer(inputs)
        for kernel in request.get_profiling_info():
            samples_s[kernel.node_name].append(kernel.real_time.total_seconds())
    return {name: median(samples) for name, samples in samples_s.items()}


def _multiply_accumulates(kind: str, node: "openvino.Node") -> int:
    """Of a kernel with two factors, from the shapes that the runtime lists."""
    first, second = (prod(node.get_input_shape(place)) for place in (0, 1))
    shape = tuple(node.get_output_shape(0))
    if kind == "MatMul":
        # Each of the m x k, k x n and m x n matrices of a batch, whichever of them is transposed.
        return prod(shape) * isqrt(first * second // (prod(shape) * prod(shape[:-2])))
    # Every output is a sum over the weights of its channel.
    return prod(shape) * second // shape[1 if kind == "Convolution" else -1]


def _products(node: "openvino.Node") -> list[tuple[int, int, int]]:
    """Of an operation that a kernel may fuse: its products.

    Each with its multiply-accumulates, the elements of its second factor, and how many numbers each of its sums has.
    Of attention with queries, keys and values (..., tokens, channels) there are two; written out, each is an operation.
    """
    kind = node.get_type_name()
    if kind == "ScaledDotProductAttention":
        query, key, value = (tuple(node.get_input_shape(place)) for place in range(3))
        scores = prod(query) * key[-2], prod(key), query[-1]
        return [scores, (prod(query[:-1]) * prod(value[-2:]), prod(value), value[-2])]
    if kind == "MatMul":
        first, turned = tuple(node.get_input_shape(0)), node.get_attributes()["transpose_a"]
        inner = first[-2 if turned else -1]
        return [(prod(node.get_output_shape(0)) * inner, prod(node.get_input_shape(1)), inner)]
    return []


def _fused_products(node: "openvino.Node", products: list[tuple[int, int, int]], time_s: float) -> Iterator[Layer]:
    """The products of one kernel: the first is that of queries and keys, a second one that with the values."""
    inputs = [
        (prod(item.get_shape()), ARITHMETIC.get(item.get_element_type().get_type_name())) for item in node.inputs()
    ]
    # Integers meet floating-point numbers as such.
    dtype = next((dtype for _, dtype in inputs[:2] if dtype != "int8"), "int8")
    for count, *_ in products:
        yield Layer("MatMul", dtype, count, time_s * count / sum(product[0] for product in products))
        # Queries and keys come first, values last; a mask may stand between.
        dtype = next((dtype for size, dtype in reversed(inputs) if size == products[-1][1]), dtype)
