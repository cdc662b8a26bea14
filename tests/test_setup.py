"""tools/setup.sh, with stand-ins for the programs that it would install with."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.processes import HANGING_S

# Makes a Python that cannot import WeasyPrint, and whose pip warns as long as it is not told twice to be quiet.
VENV = """
for folder; do :; done
mkdir -p "$folder/bin"
cat > "$folder/bin/python" <<'END'
#!/bin/sh
[ "$2" = pip ] || exit 1
case "$*" in *"--quiet --quiet"*) ;; *) echo "WARNING: Location is ignored" >&2 ;; esac
END
chmod +x "$folder/bin/python"
"""
# Notes what it is to install; one that is old does not know `--torch-backend`.
UV = """
[ "$1" = pip ] || { . "${0%/*}/make-venv"; exit 0; }
echo "$@" >> "$0.asked"
case "$OLD_UV $*" in yes*--torch-backend*) echo "error: unexpected argument" >&2; exit 2 ;; esac
"""
PYTHON = f"""
[ "$1 $2" != "-m venv" ] || {{ . "${{0%/*}}/make-venv"; exit 0; }}
exec "{sys.executable}" "$@"
"""
# It has no network.
APT = 'echo "Reading package lists"; echo "W: Some index files failed to download" >&2; [ "$1" = update ]'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only programs: uv, and a root who has apt-get but no network."""
    folder = tmp_path / "programs"
    folder.mkdir()
    scripts = {"make-venv": VENV, "uv": UV, "id": "echo 0", "apt-get": APT, "python3": PYTHON}
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    for name in ("cat", "chmod", "mkdir", "touch"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def setup(programs: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run the script into a folder beside `programs`."""
    command = [shutil.which("sh"), PROJECT / "tools/setup.sh", programs.parent / "a venv", "requirements.txt"]
    environment = {"PATH": str(programs), "OLD_UV": "", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGING_S)


def test_a_library_that_cannot_be_installed_is_named_by_its_packages(programs):
    """Protects a new user without a network, and the next run from taking half an installation for a whole one."""
    done = setup(programs, PYTHON="")
    assert done.returncode == 1
    assert "error: WeasyPrint needs Pango" in done.stderr and "apt-get install libpango-1.0-0" in done.stderr
    assert not (programs.parent / "a venv/.installed").exists()


def test_a_python_that_was_named_is_used_or_refused(programs):
    """Protects against another interpreter being taken in silence."""
    done = setup(programs, PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PYTHON=/nowhere/python3 is no Python 3.11 or newer")


@pytest.mark.parametrize(("old", "asked"), [("", [True]), ("yes", [True, False])])
def test_uv_chooses_the_torch_of_this_machine_and_an_old_one_what_it_knows(programs, old, asked):
    """Protects a machine without a GPU from 5 GB of CUDA, and the installation where uv cannot choose."""
    done = setup(programs, OLD_UV=old)
    lines = (programs / "uv.asked").read_text(encoding="utf-8").splitlines()
    assert ["--torch-backend=auto" in line for line in lines] == asked
    assert all("-r requirements.txt" in line for line in lines)
    assert "unexpected argument" not in done.stderr


def test_an_installation_prints_nothing_that_needs_no_reading(programs):
    """Protects the first impression: pip's warnings and all that apt-get says are kept back."""
    (programs / "uv").unlink()
    done = setup(programs)
    assert done.stdout.splitlines() == [
        f"Installing requirements.txt into {programs.parent / 'a venv'} (once, some minutes)",
        "Installing Pango for WeasyPrint",
    ]
    assert done.stderr.startswith("error: WeasyPrint needs Pango")
