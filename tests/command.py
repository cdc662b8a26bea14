"""A stage run as `dvc repro` runs it: in a process of its own, from the top of a project."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.warm_python import warm_python


def run(project: Path, module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run `python -m module` in `project` with the code of this checkout and these environment variables."""
    environment = without_pytest(os.environ) | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [warm_python(), "-m", module, *arguments],
        cwd=project,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=HANGING_S,
    )


def without_pytest(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables, but for those that pytest changes from test to test."""
    return {key: value for key, value in environment.items() if not key.startswith("PYTEST")}
