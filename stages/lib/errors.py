"""A user's mistake is one clear message and a non-zero exit, never a traceback."""

import logging
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. The message names the file, the key, the value and the remedy."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a UserError as one message on standard error and exit with 1."""
    # transformers tells at import that it takes its Pillow image processors, which is what this project wants.
    logging.getLogger("transformers.utils.import_utils").addFilter(_is_not_about_torchvision)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _is_not_about_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()
