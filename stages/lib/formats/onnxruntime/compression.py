"""Making a variant: convert each network, let ONNX Runtime quantize it, store the graph."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.onnxruntime.conversion import convert, require_packages
from stages.lib.formats.onnxruntime.storage import write_graph, write_manifest
from stages.lib.formats.shared.availability import require_calls
from stages.lib.formats.shared.choice import on_model, write_variant
from stages.lib.formats.shared.graphs.graph_call import write_graph_call
from stages.lib.formats.shared.graphs.networks import inputs_of, write_beside
from stages.lib.formats.shared.graphs.tracing import Traced, check_told_by_calls
from stages.lib.models.calibration import Calls
from stages.lib.models.components import load_component
from stages.lib.project.params import Variant

if TYPE_CHECKING:
    import onnx

QUANTIZED_OPERATIONS = ["Conv", "Gemm", "MatMul", "Gather"]
# Their results stay in FP32. Those of convolutions do not: the runtime has an integer kernel only for rounded ones.
UNROUNDED_RESULTS = ["Gemm", "MatMul"]


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the components of `variant` as ONNX graphs into the empty folder `out`.

    `calibration` has calls of each component, with which it is traced and from which ranges of activations come. A
    missing package, missing calls or a network that cannot be converted is a UserError.
    """
    require_packages()
    variant = on_model(variant, base)
    require_calls(variant, variant.components, calibration)
    check_told_by_calls(base, variant.components, calibration)

    def convert_network(component: str) -> None:
        traced = Traced(load_component(base, component, "float32"), calibration[component])
        model = convert(traced)
        described = traced.described({item.name for item in model.graph.input})
        if variant.activations == "int8":
            model = quantize_fully(model, inputs_of(base, component, described, calibration[component]))
        write_graph(model, out, component)
        write_graph_call(out, component, described)
        write_beside(base, out, component, traced.beside)

    write_variant(base, variant, out, "float32", convert_network)
    write_manifest(out, list(variant.components))


class _Reader:
    """Hands calibration inputs to ONNX Runtime one by one."""

    def __init__(self, inputs: list[dict[str, np.ndarray]]) -> None:
        self.inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def quantize_fully(model: "onnx.ModelProto", inputs: list[dict[str, np.ndarray]]) -> "onnx.ModelProto":
    """The same graph with INT8 weights (per channel) and INT8 activations, whose ranges come from `inputs`."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with TemporaryDirectory() as temporary, _quiet_quantizer():
        path = Path(temporary, "quantized.onnx")
        quantize_static(
            model,
            path,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPERATIONS,
            nodes_to_exclude=_products_of_activations(model.graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=True,
            extra_options={"OpTypesToExcludeOutputQuantization": UNROUNDED_RESULTS},
        )
        return onnx.load(path)


def _products_of_activations(graph: "onnx.GraphProto") -> list[str]:
    """The operations of attention that multiply one activation with another."""
    constants = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and constants.isdisjoint(node.input)]


@contextlib.contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """The quantizer recommends a preparation that the exporter has already made, on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
