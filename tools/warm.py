"""Stages forked from a process that has imported the large libraries: seconds less for each of them.

What measures time or memory is never started so, unless it only says why it cannot. Importing begins when the first
such stage is to run, so it costs nothing where none does. On Linux alone: elsewhere, and below `dvc repro`, every stage
imports for itself.
"""

import atexit
import gc
import json
import os
import runpy
import shlex
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.parent import end_with_parent
from stages.lib.project.worker_pool import FORKED, running_threads

ENVIRONMENT = Path("reports/environment.json")
WARM = {
    f"stages.{name}"
    for name in ("architectures", "download", "noise", "calibrate", "generate", "evaluate", "floor", "controls")
    + ("sensitivity_components", "sensitivity_steps", "sensitivity_layers")
}


def import_libraries() -> None:
    """What takes long and starts no thread; nothing of this project, whose files may change while we wait."""
    import safetensors.torch  # noqa: F401
    import scipy.ndimage  # noqa: F401
    import scipy.stats  # noqa: F401
    import skimage.metrics  # noqa: F401
    from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401


def passes_on(words: list[str]) -> bool:
    """Whether this is a stage of a variant that cannot run here or is not asked for, which measures nothing then."""
    if "--variant" not in words[:-1] or not ENVIRONMENT.is_file():
        return False
    return bool(read_json(ENVIRONMENT).get("obstacles", {}).get(words[words.index("--variant") + 1]))


class WarmProcess:
    """A process that waits for stages to run. To be made before this one has threads, open locks or large libraries.

    Whatever made it goes on in it, too, as the stage: an exception such as SystemExit must end that.
    """

    def __init__(self) -> None:
        self._connection, other = socket.socketpair()
        if not os.fork():
            self._connection.close()
            _serve(other)
        other.close()
        self._answers = self._connection.makefile("r", encoding="utf-8")

    def run(self, command: str, variables: dict[str, str]) -> int | None:
        """Run the stage `command`, `python -m stages.NAME ...`, with these environment variables: its exit status.

        None, and nothing was run, if it is another command, a stage that measures time or memory, or cannot be forked.
        """
        words = shlex.split(command)
        if words[:2] != ["python", "-m"] or not (words[2] in WARM or passes_on(words)):
            return None
        self._connection.sendall(json.dumps([words[2:], variables, variables["DVC_ROOT"]]).encode() + b"\n")
        answer = self._answers.readline()
        if not answer:
            raise UserError("the process with the imported libraries ended, perhaps for want of memory: run it again")
        return json.loads(answer)


def _serve(connection: socket.socket) -> None:
    """Answer requests until the parent ends. A process forked for a stage ends with it: none returns."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Blocked, Ctrl-C waits for who is forked: ignored alone, it would be lost to a process that has just begun.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with connection.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            import_libraries()
            gc.freeze()
            status = None
            if running_threads() == 1:  # fork copies one thread only, and what the others hold stays held
                process = os.fork()
                if not process:
                    run_here(*json.loads(line))
                status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            connection.sendall(json.dumps(status).encode() + b"\n")
    os._exit(0)


def run_here(words: list[str], variables: dict[str, str], folder: str) -> None:
    """What `python -m` with these words does in that folder, in this forked process, to its end."""
    os.environ.clear()
    os.environ.update(variables, **{FORKED: str(os.getpid())})
    os.chdir(folder)
    sys.argv[1:] = words[1:]
    tempfile.tempdir = None  # TMPDIR may be another one by now
    for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
        del sys.modules[name]  # its files may have changed since
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    status = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int | None) else 1
        if status != end.code:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(status or 0)  # to give back what the libraries have piece by piece would copy it first
