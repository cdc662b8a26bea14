"""What back end `torchao` does: see the package."""

from stages.lib.formats.torchao.storage import inventory, load, quantize

__all__ = ["inventory", "load", "quantize"]
