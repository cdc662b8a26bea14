"""A stage run as `dvc repro` runs it: in a process of its own, from the top of a project."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT


def run(project: Path, module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run `python -m module` in `project` with the code of this checkout and these environment variables."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
