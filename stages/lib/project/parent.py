"""A process that works for another one ends with it, however that one ended: killed, crashed, its terminal closed."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

RUN_LOCK = "STAGES_RUN_LOCK"  # names the file that a run of the pipeline holds locked as long as it lives
PR_SET_PDEATHSIG = 1
LOOK_EVERY_S = 1


def end_with_parent() -> None:
    """From now on this process ends when its parent does: on Linux at once, elsewhere within a second.

    DVC starts a command in a shell, and some shells stay in between: then it is DVC, the shell's parent, that counts.
    """
    import psutil

    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    lineage = [parent]
    with contextlib.suppress(psutil.NoSuchProcess):  # told below
        if psutil.Process(parent).name().endswith("sh"):
            lineage.append(psutil.Process(parent).ppid())
    if len(lineage) > 1 or sys.platform != "linux":
        threading.Thread(target=_look, args=(lineage,), daemon=True).start()
    if os.getppid() != parent or _is_unlocked(os.environ.get(RUN_LOCK)):  # it ended before we could ask
        os._exit(1)


def _look(lineage: list[int]) -> None:
    """End this process as soon as it or a parent has got another parent than that of `lineage`, nearest first."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        while all(
            psutil.Process(of).ppid() == above for of, above in zip([os.getpid(), *lineage], lineage, strict=False)
        ):
            time.sleep(LOOK_EVERY_S)
    os._exit(1)


def _is_unlocked(path: str | None) -> bool:
    """Whether nobody holds the lock of that file, if there is one: the system lets go of it when its holder dies."""
    import fcntl

    if path is None or not Path(path).is_file():
        return False
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
