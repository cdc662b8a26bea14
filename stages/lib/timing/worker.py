"""A process that times one variant, one call at a time, whenever its parent asks, and starts anew as often as asked.

Both ways, one line is one JSON object. The parent first sends the fields of `Task`; the answer comes when libraries
are imported, and says how much memory they take. Then it sends {"do": "load", "fork": true}, whose answer comes when
the model is ready to generate, and {"do": "call"}, {"do": "peak"}, {"do": "components"}, {"do": "batch", "size": 8} or
{"do": "executed"}; {"do": "end"} ends this restart, and "load" may come again. A mistake of the user is answered with
{"error": message}. When the parent goes, this process ends at once, also in the middle of a call.

A restart is a process with memory, threads and a model of its own. With `fork` it is forked from the one that has
imported the libraries, which takes longer than all its calls. Without, where its memory is measured (a forked process
shares pages and does not count them), on a GPU, or if a library has started threads, it is that process itself, which
then becomes another one (`again` in the answer to "end") and has to be sent the task anew.
"""

import gc
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from stages.lib.formats import BACKENDS
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError
from stages.lib.project.memory import CudaMeter, process_meter, resident_mib
from stages.lib.project.params import load_params
from stages.lib.project.worker_pool import running_threads
from stages.lib.timing.timed_model import Task, load

END = b'{"do": "end"}\n'


def import_libraries(task: Task) -> None:
    """Import what loading and generation need, so that the time of loading is the model's own."""
    kind_of(Path(task.folder)).pipeline_class()

    from stages.lib.generation import noise, sampling  # noqa: F401

    BACKENDS[load_params().variant(task.variant).backend].load_module()


def main() -> None:
    """Answer requests until the parent closes its end."""
    # Whatever a library prints must not mix with the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        try:
            _serve(answers)
        except UserError as error:
            _answer(answers, {"error": str(error)})
            sys.exit(1)


def _serve(answers: TextIO) -> None:
    task = Task(**json.loads(_line()))
    import_libraries(task)
    gc.freeze()
    can_fork = task.device == "cpu" and sys.platform == "linux" and running_threads() == 1
    _answer(answers, {"libraries_mib": 0.0 if task.device == "cuda" else resident_mib()})
    while line := _line():  # "load" is the only thing to do without a model
        is_forked = can_fork and json.loads(line)["fork"]
        process = os.fork() if is_forked else 0
        if not process:
            _restart(task, answers)
            _answer(answers, {"again": not is_forked})
            if is_forked:
                return
            os.dup2(answers.fileno(), 1)
            os.execv(sys.executable, [sys.executable, "-m", __spec__.name])
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code < 0:
            os.kill(os.getpid(), -code)  # so that the parent is told what ended it
        elif code:
            sys.exit(code)


def _restart(task: Task, answers: TextIO) -> None:
    """Load the model and answer requests to the end of this restart."""
    meter = CudaMeter() if task.device == "cuda" else process_meter()
    requests = _requests()
    worker, loaded = load(task, meter)
    _answer(answers, loaded)
    actions: dict[str, Callable[..., dict]] = {
        "call": worker.call,
        "peak": worker.peak,
        "components": worker.components,
        "executed": worker.executed,
        "batch": worker.batch,
    }
    for request in requests:
        if request == END:
            return
        options = json.loads(request)
        _answer(answers, actions[options.pop("do")](**options))


def _line() -> bytes:
    """The next line of standard input, nothing more: what comes after it is for the restart."""
    with open(0, "rb", buffering=0, closefd=False) as stream:
        return stream.readline()


def _requests() -> Iterator[bytes]:
    """The lines of standard input to END, read by a thread that ends the process when there are no more."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while line := _line():
            lines.put(line)
            if line == END:
                return
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return iter(lines.get, None)


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
