"""A user's mistake is one clear message and a non-zero exit, never a traceback."""

import logging
import re
import sys
from collections.abc import Callable

# What libraries log at import that tells a user of this project nothing, by the name of the logger.
NO_NEWS = {
    # It takes its Pillow image processors, which is what this project wants.
    "transformers.utils.import_utils": "requires torchvision",
    # Kernels for formats that nothing here uses, on newer GPUs; a PyTorch without CUDA cannot load them.
    "torchao": r"Failed to load \S*_C_(mxfp8|cutlass_90a)\.",
    "torch.utils._pytree": "(KernelPreference|ScaleCalculationMode).* is an Enum subclass",
    # diffusers looks for names of older versions of torchao; it reads no checkpoint of torchao's here.
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
}


class UserError(Exception):
    """Something the user can mend. The message names the file, the key, the value and the remedy."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a UserError as one message on standard error and exit with 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def hide_no_news() -> None:
    """Keep back the messages of NO_NEWS: every process of this project does, before it imports those libraries."""
    for logger, pattern in NO_NEWS.items():
        logging.getLogger(logger).addFilter(_Without(pattern))


class _Without(logging.Filter):
    """Drops messages that contain a match of a regular expression."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.pattern = pattern

    def filter(self, record: logging.LogRecord) -> bool:
        return not re.search(self.pattern, record.getMessage())
