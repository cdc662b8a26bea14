"""Other arithmetic over the same stored graph: without rounded activations, or BF16 in products alone."""

import re
from typing import TYPE_CHECKING

from stages.lib.models.families import END_LAYERS, TIME_LAYERS

if TYPE_CHECKING:
    import openvino

PRODUCTS = ("Convolution", "MatMul", "ScaledDotProductAttention")
# First and last layers and those that hear of the time: little work, and an error in them is in everything.
SENSITIVE = re.compile(rf"\.network\.({END_LAYERS}|{TIME_LAYERS})[./]")


def without_activation_rounding(model: "openvino.Model") -> "openvino.Model":
    """A copy of a fully quantized graph whose activations are not rounded; its INT8 weights are the same."""
    copy = model.clone()
    for node in copy.get_ops():
        if node.get_type_name() == "FakeQuantize":
            node.output(0).replace(node.input_value(0))
    copy.validate_nodes_and_infer_types()
    return copy


def mixed_precision(model: "openvino.Model") -> "openvino.Model":
    """A copy of a graph without rounded activations that, compiled in FP32, takes only its products in BF16.

    Factors and bias of convolutions, linear layers and attention are converted to BF16, what comes out is converted
    back: normalization, residual sums and everything else stay FP32, and so does what is SENSITIVE. The runtime's own
    BF16 keeps every activation in 8 bits of mantissa and is about twice as far from FP32, for a tenth less time.
    """
    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() in PRODUCTS and not SENSITIVE.search(node.get_friendly_name()):
            _multiply_in_bfloat16(node)
    copy.validate_nodes_and_infer_types()
    return copy


def _multiply_in_bfloat16(node: "openvino.Node") -> None:
    """Convert the FP32 inputs of `node` and of the addition of its bias, if it has one; convert their result back."""
    users = list(node.output(0).get_target_inputs())
    _convert_inputs(node)
    last = node
    if len(users) == 1 and _adds_constant(users[0].get_node()):
        last = users[0].get_node()
        users = list(last.output(0).get_target_inputs())
        _convert_inputs(last)
    result = _converted(last.output(0), "f32")
    for user in users:
        user.replace_source_output(result)


def _convert_inputs(node: "openvino.Node") -> None:
    for item in node.inputs():
        if item.get_source_output().get_element_type().get_type_name() == "f32":
            item.replace_source_output(_converted(item.get_source_output(), "bf16"))
    node.validate_and_infer_types()


def _converted(output: "openvino.Output", dtype: str) -> "openvino.Output":
    from openvino import opset13

    return opset13.convert(output, dtype).output(0)


def _adds_constant(node: "openvino.Node") -> bool:
    """Whether `node` adds a constant, which may be reshaped on the way."""
    if node.get_type_name() != "Add":
        return False
    kinds = [_origin(item.get_source_output().get_node()) for item in node.inputs()]
    return "Constant" in kinds


def _origin(node: "openvino.Node") -> str:
    while node.get_type_name() in ("Reshape", "Convert", "Unsqueeze"):
        node = node.input_value(0).get_node()
    return node.get_type_name()
