"""A machine at its limits: full, small, read-only, oddly set. One message, and nothing half-written."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from stages.lib.project.errors import LIMITS, limit_reached
from stages.lib.project.worker_pool import cpu_quota
from tests.command import run
from tests.conftest import PROJECT
from tests.test_run import PIPELINE, environment

REMEDIES = dict(zip(["full", "size", "read-only", "memory", "files", "processes"], LIMITS.values(), strict=True))
MOUNT = {
    "full": "mount -t tmpfs -o size=4k none reports && echo > reports/file",
    "read-only": "mount --bind . . && mount -o remount,bind,ro . && cd .",
}


@pytest.mark.parametrize(
    ("cause", "limit"),
    [
        (lambda: Path("/dev/full").write_text("x"), "full"),
        (lambda: save_file({"x": np.zeros(10)}, "/sys/none"), "read-only"),
        (lambda: np.empty(2**60, np.uint8), "memory"),
        (lambda: torch.empty(2**60), "memory"),
        (lambda: bytearray(2**62), "memory"),
        (lambda: 1 / 0, None),
        (lambda: Path("none").read_text(), None),
    ],
)
def test_what_systems_and_libraries_say_of_a_limit_is_understood(cause: Callable, limit: str | None):
    """Protects the one place that tells limits from mistakes of ours, with errors as they really come."""
    with pytest.raises(Exception) as caught:
        cause()
    assert limit_reached(caught.value) == (REMEDIES[limit] if limit else "")
    wrapped = RuntimeError("something failed")
    wrapped.__cause__ = caught.value
    assert limit_reached(wrapped) == limit_reached(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the first stage reads."""
    shutil.copy2(PROJECT / "params.yaml", tmp_path)
    for name in ("data", "reports"):
        (tmp_path / name).mkdir()
    for name in ("prompts.csv", "calibration.csv"):
        shutil.copy2(PROJECT / "data" / name, tmp_path / "data")
    return tmp_path


def limited(project: Path, command: list[str], before: str = "true", **limits: int) -> str:
    """The one message of a command after a shell command in a file system of its own, and under these limits."""

    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    words = ["unshare", "--mount", "sh", "-c", f'{before} && exec "$@"', "sh"] if before != "true" else []
    if words and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount")
    done = subprocess.run(
        [*words, sys.executable, *command],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert not list(project.rglob("*.partial"))
    return done.stderr


STAGE = ["-m", "stages.environment", "--output", "reports/environment.json"]


@pytest.mark.parametrize("limit", ["full", "read-only"])
def test_a_disk_that_takes_nothing_is_one_message(project: Path, limit: str):
    assert REMEDIES[limit] in limited(project, STAGE, MOUNT[limit])


def test_a_limit_of_sizes_is_one_message(project: Path):
    assert REMEDIES["size"] in limited(project, STAGE, RLIMIT_FSIZE=1000)
    assert not list((project / "reports").iterdir())


def test_a_limit_of_memory_is_one_message(project: Path, tiny_model: Path):
    """Protects from "failed to map segment" of a shared library."""
    shutil.copytree(tiny_model, project / "data/embedded")
    words = ["-m", "stages.download", "--output", "data/base"]
    assert REMEDIES["memory"] in limited(project, words, RLIMIT_AS=400 * 1024**2)


def test_a_run_in_a_project_that_cannot_be_written_is_one_message(project: Path):
    (project / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    assert REMEDIES["read-only"] in limited(project, ["-m", "tools.run"], MOUNT["read-only"])


def test_a_run_on_a_full_disk_is_one_message_and_goes_on_with_room(project: Path):
    """Protects what DVC keeps, too: its lists, its cache and dvc.lock."""
    (project / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (project / ".dvc").mkdir()
    (project / ".dvc/config").touch()
    assert REMEDIES["full"] in limited(
        project, ["-m", "tools.run"], "mount -t tmpfs -o size=20k none .dvc && touch .dvc/config"
    )
    words = [sys.executable, "-m", "tools.run"]
    done = subprocess.run(words, cwd=project, env=environment(project), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_project_without_git_runs(project: Path):
    """Protects who downloads a ZIP: its .dvc/config is that of a clone, and there is no .git."""
    (project / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (project / ".dvc").mkdir()
    shutil.copy2(PROJECT / ".dvc/config", project / ".dvc")
    words = [sys.executable, "-m", "tools.run"]
    done = subprocess.run(words, cwd=project, env=environment(project), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and (project / "two.txt").is_file()


@pytest.mark.parametrize("epoch", ["soon", "-1", "1e9", "\u00b2", "9" * 30, ""])
def test_a_date_that_is_none_is_told_before_anything_is_generated(project: Path, epoch: str):
    done = run(project, "stages.environment", "--output", "reports/environment.json", SOURCE_DATE_EPOCH=epoch)
    assert done.returncode == 1 and done.stderr.startswith("error: SOURCE_DATE_EPOCH has the value")
    assert not list((project / "reports").iterdir())


def test_python_without_docstrings_is_refused(project: Path):
    """Protects from a traceback of a library that reads its own."""
    done = run(project, "stages.environment", "--output", "reports/environment.json", PYTHONOPTIMIZE="2")
    assert done.returncode == 1 and done.stderr.startswith("error: `python -OO`") and done.stderr.count("\n") == 1
    done = run(project, "stages.environment", "--output", "reports/environment.json", PYTHONOPTIMIZE="1")
    assert done.returncode == 0


def test_make_takes_away_what_keeps_python_from_finding_the_project(tmp_path: Path):
    """Protects who has PYTHONSAFEPATH or PYTHONOPTIMIZE set for everything."""
    shown = "shown: ; @echo [$$PYTHONSAFEPATH$$PYTHONOPTIMIZE]"
    words = ["make", "--no-print-directory", "-f", str(PROJECT / "Makefile"), f"--eval={shown}", "shown"]
    variables = {**environment(tmp_path), "PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2"}
    done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({}, None),
    ],
)
def test_a_container_has_the_cores_that_its_quota_pays(tmp_path: Path, files: dict[str, str], cores: int | None):
    """Protects from 64 threads on two cores' time, which take many times as long as two."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert cpu_quota(tmp_path) == cores


def test_warnings_of_libraries_reach_no_terminal():
    """Protects the one line per stage, in the stage and in what it starts."""
    child = "import warnings; warnings.warn('from below'); warnings.warn('old', FutureWarning)"
    code = f"import stages, subprocess, sys; {child}; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment(PROJECT), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
