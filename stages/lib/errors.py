"""A user's mistake is one clear message and a non-zero exit, never a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. The message names the file, the key, the value and the remedy."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a UserError as one message on standard error and exit with 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
