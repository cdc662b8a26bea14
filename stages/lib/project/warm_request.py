"""What a process asks of the one that waits with libraries imported (stages.lib.project.warm_start)."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

from stages.lib.project.parent import RUN_LOCK

FOLDER = "STAGES_WARM"  # names the folder of sockets
FORKED = "STAGES_WARM_PROCESS"  # is the number of the process that was forked
# All other variables are as they were when libraries were imported. PyTorch sets its own here, and reads it when used.
MAY_DIFFER = {FOLDER, FORKED, RUN_LOCK, "TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "DVC_ROOT", "DVC_STAGE"}
MAY_DIFFER |= {"PWD", "OLDPWD", "SHLVL", "_"}
# They run every time, and import nothing large.
LIGHT = {"code", "environment", "source"}
LENGTH_BYTES = 4
PATIENCE_S = 0.5


def is_warm() -> bool:
    """Whether this very process was forked with libraries imported."""
    return os.environ.get(FORKED) == str(os.getpid())


def running_threads() -> int:
    """How many threads run in this process, those of libraries included; Linux only."""
    return len(os.listdir("/proc/self/task"))


def run_warm() -> None:
    """Have a waiting process do what this one was started for, and exit as that does; return if none fits."""
    module = sys.orig_argv[-len(sys.argv)]
    if module.removeprefix("stages.") in LIGHT:
        return
    os.umask(umask := os.umask(0o077))
    request = [module, sys.orig_argv, sys.argv[1:], os.getcwd(), umask, dict(os.environ)]
    content = json.dumps(request).encode()
    path = socket_path(os.environ[FOLDER])
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it can be passed on
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(str(path))
            socket.send_fds(connection, [len(content).to_bytes(LENGTH_BYTES, "big")], [0, 1, 2])
            connection.sendall(content)
            if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
                signal.signal(signal.SIGINT, lambda *_: connection.send(b"i"))
        except OSError:  # none is ready: from now on one is wanted
            with contextlib.suppress(OSError):
                wanted(path).touch()
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        answer = None
        while answer is None:  # Python heeds a signal that comes just before it waits when it has waited
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(LENGTH_BYTES)
    if not answer:
        sys.exit("error: the process with the imported libraries ended, perhaps for want of memory: try `dvc repro`")
    status = int.from_bytes(answer, "big", signed=True)
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def wanted(path: Path) -> Path:
    """The file that has a process import, once a stage has missed it: nothing is imported where nothing runs."""
    return path.with_suffix(".wanted")


def socket_path(folder: str) -> Path:
    """Named after everything that a process cannot take over from another: see MAY_DIFFER."""
    import stages

    variables = sorted(item for item in os.environ.items() if item[0] not in MAY_DIFFER)
    limits = [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0)]
    facts = [stages.__file__, sys.executable, list(sys.flags), sys.warnoptions, limits, variables]
    return Path(folder, hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16])
