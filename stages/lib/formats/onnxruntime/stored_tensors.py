"""What the stored graphs hold: every constant, its bytes, and the parameter of the base model that it stands for."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.formats.onnxruntime.storage import read_graph
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.graphs.parameters import ParameterAccounting
from stages.lib.models.inventory import StoredTensor, stored_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.params import Variant

if TYPE_CHECKING:
    import onnx

QUANTIZED = "_quantized"
# What a quantized constant needs besides its integers.
COMPANIONS = ("_zero_point", "_scale")


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, constant by constant. A file that was changed is a UserError."""
    tensors = []
    variant = on_model(variant, folder)
    for component in kind_of(folder).networks:
        part = graph_tensors if component in variant.components else stored_component
        tensors += part(folder, component)
    return tensors


def graph_tensors(folder: Path, component: str) -> list[StoredTensor]:
    """Every constant of a component's graph, and the safety checker's thresholds.

    A parameter that the graph folds or drops has a row without bytes, see stages.lib.formats.shared.graphs.parameters.
    Constants that the operations themselves carry, a few bytes of shape each, are part of the graph and no rows.
    """
    import onnx

    accounting = ParameterAccounting(folder, component)
    tensors = []
    for tensor in onnx.load_model_from_string(read_graph(folder, component)).graph.initializer:
        elements, stored_bytes, dtype = *stored_size(tensor), _dtype(tensor)
        name = tensor.name.removesuffix(QUANTIZED)
        if accounting.stands_for(name, elements):
            tensors.append(accounting.claimed(name, elements, dtype, stored_bytes))
        else:
            operator = accounting.operator(_owner(tensor.name))
            tensors.append(StoredTensor(component, tensor.name, operator, elements, 0, dtype, stored_bytes))
    return tensors + accounting.rest()


def stored_size(tensor: "onnx.TensorProto") -> tuple[int, int]:
    """The number of elements of a constant, and their bytes wherever they lie."""
    from onnx.helper import tensor_dtype_to_np_dtype

    elements = prod(tensor.dims)
    return elements, elements * tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _dtype(tensor: "onnx.TensorProto") -> str:
    from onnx.helper import tensor_dtype_to_np_dtype

    return tensor_dtype_to_np_dtype(tensor.data_type).name


def _owner(name: str) -> str:
    """The parameter that a scale or a zero point belongs to, if it belongs to one."""
    for suffix in (*COMPANIONS, QUANTIZED):
        name = name.removesuffix(suffix)
    return name
