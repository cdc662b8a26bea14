"""Waiting for processes: until something is so, however slow the machine is."""

import time
from collections.abc import Callable

import psutil

# No measure of speed: what takes longer waits for something that never comes.
HANGING_S = 600


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Return as soon as it is so; `what` tells what was waited for in vain."""
    deadline_s = time.monotonic() + HANGING_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"waited in vain: {what}"
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    """Whether it ended, whoever should have taken notice."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
