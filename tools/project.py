"""One model of a plan in a scratch folder: its stages run there as commands of dvc.yaml, many at a time."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.project.pipeline_file import RUNS, stage_command
from tools.machine_plan import Plan

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass
class Project:
    """The scratch folder `path` of `plan`. Its stages may be run from several threads; `stop` ends them all."""

    plan: Plan
    path: Path
    environment: dict[str, Any]
    threads: int | None = None  # that a stage may compute with; None: as the environment says
    _running: set[subprocess.Popen] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    @property
    def run(self) -> Path:
        """Where models, noise and images of the plan's model lie."""
        return self.path / RUNS / self.plan.model

    def begin(self) -> dict[str, str]:
        """Write what the stages read; why some variants cannot run on this machine, by their names."""
        obstacles = self.plan.write(self.path, self.environment)
        return {name: f"{item['reason']}: {item['remedy']}" for name, item in obstacles.items() if item}

    def prepare(self) -> None:
        """What all variants are made from: the model and the noise, if they are not there."""
        if not (self.run / "models/base").is_dir():
            for name in ("download", "noise", *(["calibrate"] if self.plan.calibrated else [])):
                self.stage(name)

    def make_baseline(self) -> None:
        """The baseline, if it is not there."""
        if not (self.run / "models" / self.plan.baseline).is_dir():
            self.stage("quantize", self.plan.baseline)

    def generate_baseline(self) -> None:
        """The images that all variants are compared with, if they are not there."""
        if not (self.run / "images" / self.plan.baseline).is_dir():
            self.stage("generate", self.plan.baseline)

    def stage(self, name: str, variant: str = "") -> None:
        """Run a stage of dvc.yaml here, with this checkout's code; what it says of a failure is a UserError."""
        with self._lock:
            if self._stopped:
                raise UserError(f"stage {name} was not begun for want of time")
            process = subprocess.Popen(
                [sys.executable, *stage_command(name, self.plan.model, variant)[1:]],
                cwd=self.path,
                env={**os.environ, **({"OMP_NUM_THREADS": str(self.threads)} if self.threads else {})},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._running.add(process)
        errors = process.communicate()[1]
        with self._lock:
            self._running.discard(process)
        if process.returncode:
            lines = [line.strip() for line in errors.splitlines() if line.strip()]
            said = lines[-1].removeprefix("error: ") if lines else "it left no message"
            said = "it was stopped for want of time" if self._stopped else said
            raise UserError(f"stage {name} ended with exit code {process.returncode}: {said}")

    def stop(self) -> None:
        """End every stage that runs, and begin none until `go_on`."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                os.killpg(process.pid, signal.SIGKILL)

    def go_on(self) -> None:
        """Stages may run again."""
        self._stopped = False


def let_stages_find_this_checkout() -> None:
    """Processes started from here import the modules of this checkout, whatever their working folder."""
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
