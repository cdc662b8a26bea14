"""What back end `torchao` does: see the package."""

from stages.lib.formats.torchao.execution import executed_precisions
from stages.lib.formats.torchao.storage import inventory, load, quantize

__all__ = ["executed_precisions", "inventory", "load", "quantize"]
