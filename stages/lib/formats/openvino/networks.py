"""OpenVINO graphs, compiled."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stages.lib.formats.shared.graphs.shaped_graph import ShapedGraph, Shapes
from stages.lib.project.worker_pool import threads_here

if TYPE_CHECKING:
    import openvino


class Graph(ShapedGraph):
    """A graph compiled for fixed shapes, because the runtime plans kernels and memory when it compiles."""

    def __init__(
        self, core: "openvino.Core", model: "openvino.Model", compute: str, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        self.core, self.model, self.compute = core, model, compute
        super().__init__(shapes)

    def prepare(self, shapes: Shapes) -> "tuple[openvino.CompiledModel, openvino.InferRequest]":
        compiled = self.compiled(shapes)
        return compiled, compiled.create_infer_request()

    def compiled(self, shapes: Shapes, **options: Any) -> "openvino.CompiledModel":
        """The graph for inputs of `shapes`; `options` of the runtime besides the usual ones."""
        return self.core.compile_model(self.reshaped(shapes), "CPU", properties(self.compute) | options)

    def reshaped(self, shapes: Shapes) -> "openvino.Model":
        """The graph with these shapes of inputs."""
        model = self.model.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        return model

    def infer(
        self, prepared: "tuple[openvino.CompiledModel, openvino.InferRequest]", arrays: dict[str, np.ndarray]
    ) -> list[np.ndarray]:
        answer = prepared[1].infer(arrays, share_inputs=True)
        return [answer[place] for place in range(len(answer))]

    def constant_bytes(self) -> int:
        """Bytes of the constants of every compiled form, as the runtime has them; see stages.lib.models.inventory."""
        nodes = [node for compiled, _ in self.prepared.values() for node in compiled.get_runtime_model().get_ops()]
        constants = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "Const"]
        return sum(
            int(np.prod(node.get_output_shape(0))) * node.get_output_element_type(0).size
            for node in constants
            if node.get_output_element_type(0).is_static()
        )


def properties(compute: str) -> dict[str, Any]:
    """How a graph is compiled for arithmetic in `compute`, on the threads that PyTorch has."""
    import openvino

    return {
        "INFERENCE_PRECISION_HINT": {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}[compute],
        # Or else it quantizes the activations of linear layers with INT8 weights by itself.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Where several processes generate side by side, all would be pinned to the first cores: half as fast on two.
        "ENABLE_CPU_PINNING": torch.get_num_threads() >= threads_here(),
    }
