"""What back end `openvino` does: see the package."""

from stages.lib.formats.openvino.compression import quantize
from stages.lib.formats.openvino.execution import executed_work
from stages.lib.formats.openvino.loading import load
from stages.lib.formats.openvino.stored_tensors import inventory

__all__ = ["executed_work", "inventory", "load", "quantize"]
