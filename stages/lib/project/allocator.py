"""How this process's allocator deals with memory that is freed."""

import contextlib
import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LARGEST_MMAP_THRESHOLD = 32 * 1024**2
GIB = 1024**3
# Environment variables with which glibc gives blocks of more than 16 KiB back to the system as soon as they are freed;
# other systems ignore the names.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next use; elsewhere nothing happens.

    Comparing images takes and frees arrays of some hundred KiB all the time. Giving them back to the system and
    getting them again took longer than the arithmetic.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        with contextlib.suppress(AttributeError):  # another libc
            libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
            libc.mallopt(M_TRIM_THRESHOLD, GIB)
