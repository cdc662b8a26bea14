"""A stage run as `dvc repro` runs it: in a process of its own, from the top of a project."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.conftest import PROJECT
from tests.processes import HANGING_S

# Runs below warm_start for as long as its standard input is open, which is as long as the tests run.
WAIT = "import os, sys; print(os.environ.get('STAGES_WARM', ''), flush=True); sys.stdin.read()"


def run(project: Path, module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run `python -m module` in `project` with the code of this checkout and these environment variables."""
    environment = without_pytest(os.environ) | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=project,
        env={**environment, **_warm_here(), **variables},
        capture_output=True,
        text=True,
        timeout=HANGING_S,
    )


def without_pytest(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables, but for those that pytest changes from test to test."""
    return {key: value for key, value in environment.items() if not key.startswith("PYTEST")}


def start_warm(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Have the libraries imported once for stages in `folder` with that environment; the variable that tells them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.lib.project.warm_start", sys.executable, "-c", WAIT],
        cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _waiting.append(process)
    return {"STAGES_WARM": process.stdout.readline().strip()}


@cache
def _warm_here() -> dict[str, str]:
    return start_warm(PROJECT, without_pytest(os.environ) | {"PYTHONPATH": str(PROJECT)})


_waiting: list[subprocess.Popen] = []
