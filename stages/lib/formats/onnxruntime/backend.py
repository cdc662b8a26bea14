"""What back end `onnxruntime` does: see the package."""

from stages.lib.formats.onnxruntime.compression import quantize
from stages.lib.formats.onnxruntime.execution import executed_work
from stages.lib.formats.onnxruntime.loading import load
from stages.lib.formats.onnxruntime.stored_tensors import inventory

__all__ = ["executed_work", "inventory", "load", "quantize"]
