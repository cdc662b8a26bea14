"""The parent's side of a timing worker: start it, ask it, pass on what went wrong, and leave none behind."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.timing import worker
from stages.lib.timing.timed_model import Task

# OpenMP's idle threads go on spinning for some milliseconds after a call; the other process must not feel them.
SETTLE_S = 0.02


class TimingProcess:
    """A worker process from entering the `with` block to leaving it. It imports libraries while others do.

    `begin_load` and `loaded` bring the model into a process of its own, which `end` ends. `libraries_mib` is what a
    process takes without one.
    """

    libraries_mib: float

    def __init__(self, task: Task, folder: Path | None = None) -> None:
        """`folder`: where params.yaml is, if not in the working folder."""
        self._task = task
        self._folder = folder

    def __enter__(self) -> "TimingProcess":
        # Its standard error is a file: read only if it dies, and it can never fill a pipe.
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", worker.__name__],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        try:
            self._send(self._task.as_line())
        except BaseException:  # also Ctrl-C: `with` leaves a block only after entering it
            self.close()
            raise
        return self

    def wait(self) -> None:
        """Until the libraries are imported."""
        self.libraries_mib = self._receive()["libraries_mib"]

    def begin_load(self, fork: bool) -> None:
        """Begin to load the model, with `fork` in a forked process; another one may do so meanwhile."""
        self._begin_s = time.perf_counter()
        self._send(json.dumps({"do": "load", "fork": fork}))

    def loaded(self) -> dict[str, float]:
        """Until the model is there: how long that took, and the highest memory use, in MiB."""
        answer = self._receive()
        return {**answer, "load_time_s": time.perf_counter() - self._begin_s}

    def end(self) -> None:
        """End this restart; the model may be loaded anew."""
        if self.ask("end")["again"]:
            self._send(self._task.as_line())
            self.wait()

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, action: str, **options: int) -> dict[str, Any]:
        """The worker's answer to {"do": action} with options. Its mistake or death is a UserError with its message."""
        time.sleep(SETTLE_S)
        return self._exchange(json.dumps({"do": action, **options}))

    def kill(self) -> None:
        """End the process and its restart, whatever they do; who waits for an answer is told that it died."""
        self._process.kill()
        with contextlib.suppress(OSError):  # what was not sent yet need not be
            self._process.stdin.close()

    def close(self) -> None:
        """End the process, whatever it does, and let go of what belongs to it."""
        self.kill()
        self._process.wait()
        self._process.stdout.read()  # to its end, which is that of the restart
        self._process.stdout.close()
        self._errors.close()

    def _exchange(self, line: str) -> dict[str, Any]:
        self._send(line)
        return self._receive()

    def _send(self, line: str) -> None:
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self) -> dict[str, Any]:
        answer = self._process.stdout.readline()
        if not answer:
            raise self._death()
        value = json.loads(answer)
        if "error" in value:
            raise UserError(value["error"])
        return value

    def _death(self) -> UserError:
        """What to tell of a process that went away: its signal, or the last line it left on standard error."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        if code < 0:
            reason = f"was killed by signal {-code}" + (" (perhaps for want of memory)" if code == -9 else "")
        else:
            reason = f"ended with exit code {code}: {lines[-1] if lines else 'it left no message'}"
        return UserError(f"the timing process of variant '{self._task.variant}' {reason}")
