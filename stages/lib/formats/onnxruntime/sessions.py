"""ONNX graphs in sessions of ONNX Runtime."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from stages.lib.formats.onnxruntime.conversion import dimension
from stages.lib.formats.onnxruntime.stored_tensors import stored_size
from stages.lib.formats.shared.graphs.graph_call import GraphCall
from stages.lib.formats.shared.graphs.networks import refused
from stages.lib.formats.shared.graphs.shaped_graph import ShapedGraph, Shapes
from stages.lib.models.kinds import kind_of

if TYPE_CHECKING:
    import onnx
    import onnxruntime

NUMPY_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


class Graph(ShapedGraph):
    """A graph in sessions for fixed shapes.

    Fixed, because the runtime then computes all that depends on shapes alone once, when it makes the session.
    `graph` is the graph itself, `folder` the one of its constants, `described` what it stands for.
    """

    def __init__(self, graph: bytes, folder: Path, described: GraphCall) -> None:
        self.graph, self.folder, self.open_dimensions = graph, folder, described.open_dimensions
        super().__init__(described.inputs)

    def prepare(self, shapes: Shapes) -> "onnxruntime.InferenceSession":
        return _start(self.graph, self._options(shapes))

    def infer(self, prepared: "onnxruntime.InferenceSession", arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        return prepared.run(None, arrays)

    def _options(self, shapes: Shapes) -> "onnxruntime.SessionOptions":
        """How a session is made for inputs of `shapes`, on the threads that PyTorch has."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        for name, places in self.open_dimensions.items():
            for place in places:
                options.add_free_dimension_override_by_name(dimension(name, place), shapes[name][place])
        for key, value in {
            "session.model_external_initializers_file_folder_path": str(self.folder),
            # Threads that wait for the next call by spinning would take the time of PyTorch's, which makes the steps.
            "session.force_spinning_stop": "1",
            # On an x86 processor without VNNI, sums of two products of U8 and S8 overflow 16 bits: there, and only
            # there, the runtime then takes slower kernels that cannot.
            "session.x64quantprecision": "1",
        }.items():
            options.add_session_config_entry(key, value)
        return options

    def executed_graph(self, shapes: Shapes, calls: int = 0) -> "tuple[onnx.ModelProto, list[dict]]":
        """The graph that a session executes for `shapes`, as the runtime optimized it; without large constants.

        With it come the events of the runtime's profiler over `calls` calls on zeros. The runtime writes both when it
        makes a session, so that one more is made.
        """
        import onnx

        with TemporaryDirectory() as temporary:
            options = self._options(shapes)
            options.optimized_model_filepath = str(Path(temporary, "graph.onnx"))
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "constants")
            options.enable_profiling = calls > 0
            options.profile_file_prefix = str(Path(temporary, "profile"))
            session = _start(self.graph, options)
            events = _profiled(session, shapes, calls) if calls else []
            return onnx.load(options.optimized_model_filepath, load_external_data=False), events

    def constant_bytes(self) -> int:
        """Bytes of the constants of every session's optimized graph; see stages.lib.models.inventory.

        Kernels that reorder a weight keep their copy instead of it or, where another kernel shares it, besides it.
        """
        executed = [self.executed_graph(dict(key))[0] for key in self.prepared]
        return sum(stored_size(tensor)[1] for model in executed for tensor in model.graph.initializer)


def _profiled(session: "onnxruntime.InferenceSession", shapes: Shapes, calls: int) -> list[dict]:
    """What the profiler of `session` writes of `calls` calls on zeros of `shapes`."""
    dtypes = {item.name: NUMPY_DTYPES[item.type] for item in session.get_inputs()}
    zeros = {name: np.zeros(shapes[name], dtype) for name, dtype in dtypes.items()}
    for _ in range(calls):
        session.run(None, zeros)
    return json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))


def _start(graph: bytes, options: "onnxruntime.SessionOptions") -> "onnxruntime.InferenceSession":
    """A graph that the runtime refuses raises CannotMake."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    # The fusion would make a layer of an INT8 product and a sum before the runtime looks for integer kernels, and there
    # is none for that layer unless its result is rounded, too: it would turn its weight into FP32 in every call.
    try:
        return onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
        )
    except (refusals.Fail, refusals.InvalidGraph, refusals.NotImplemented) as error:
        folder = Path(options.get_session_config_entry("session.model_external_initializers_file_folder_path"))
        runtime, network = f"ONNX Runtime {onnxruntime.__version__}", kind_of(folder.parent).parts[folder.name][1]
        raise refused(runtime, network, error) from None
