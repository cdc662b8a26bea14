"""tools/setup.sh, with stand-ins for the programs that it would install with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

# `uv venv ... FOLDER` makes a Python that cannot import WeasyPrint; everything else that uv does, succeeds.
UV = """
[ "$1" = venv ] || exit 0
for folder; do :; done
mkdir -p "$folder/bin" && printf '#!/bin/sh\\nexit 1\\n' > "$folder/bin/python" && chmod +x "$folder/bin/python"
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs that stand before the real ones: uv, and a root who has apt-get but no network."""
    for name, body in {
        "uv": UV,
        "id": "echo 0",
        "apt-get": '[ "$1" = update ]',
        "python3": f'exec "{sys.executable}" "$@"',
    }.items():
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return tmp_path / "programs"


def setup(programs: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run the script into a folder beside `programs`."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", PROJECT / "tools/setup.sh", programs.parent / "venv", "requirements.txt"]
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_library_that_cannot_be_installed_is_named_by_its_packages(programs):
    """Protects a new user without a network, and the next run from taking half an installation for a whole one."""
    done = setup(programs, PYTHON="")
    assert done.returncode == 1
    assert "error: WeasyPrint needs Pango" in done.stderr and "apt-get install libpango-1.0-0" in done.stderr
    assert not (programs.parent / "venv/.installed").exists()


def test_a_python_that_was_named_is_used_or_refused(programs):
    """Protects against another interpreter being taken in silence."""
    done = setup(programs, PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PYTHON=/nowhere/python3 is no Python 3.11 or newer")
