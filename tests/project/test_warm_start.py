"""Stages forked from a process that has the libraries: they behave as if started anew, and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stages.lib.project.allocator import GIVE_BACK
from stages.lib.project.warm_start import DVC_CACHE
from tests.conftest import PROJECT
from tests.tiny_project import write_models, write_settings

pytestmark = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="stages are forked on Linux only")

# A stage that tells of itself and does as it is told.
PROBE = """
import os, signal, subprocess, sys, time
import psutil
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.allocator import GIVE_BACK
from stages.lib.project.worker_pool import WorkerPool, map_in_pool
from stages.lib.project.warm_request import FORKED, is_warm
from stages.lib.project.warm_start import import_libraries

def opened(): return os.environ.get(FORKED)
def square(opened, item):
    if item < 0: raise UserError(f"{item} is negative")
    return item * item, "skimage" in sys.modules, os.getpid()

def main():
    action, *values = sys.argv[1:]
    if action == "tell":
        print(is_warm(), os.getcwd(), os.umask(0o22), os.environ.get("DVC_STAGE"), values, sys.stdin.read())
        print("to standard error", file=sys.stderr)
    if action == "memory":
        import_libraries()
        print(psutil.Process().memory_info().rss)
    if action == "exit": sys.exit(int(values[0]))
    if action == "raise": raise UserError("this file is wrong")
    if action == "die": os.kill(os.getpid(), signal.SIGKILL)
    if action == "sleep":
        words = [sys.executable, "-m", "stages.probe", "wait"]
        child = subprocess.Popen(words, env={**os.environ, **GIVE_BACK}, stdout=subprocess.PIPE, text=True)
        print(os.getpid(), child.stdout.readline(), flush=True)
        time.sleep(600)
    if action == "wait":
        print(os.getpid(), is_warm(), flush=True)
        time.sleep(600)
    if action == "pool":
        items = [int(value) for value in values]
        found = list(map_in_pool(opened, square, items, WorkerPool(2, 1)))
        print([answer for answer, _, _ in found], all(has for _, has, _ in found), os.getpid() in {i[2] for i in found})

if __name__ == "__main__":
    run_stage(main)
"""


class Command:
    """A command that runs for as long as a test wants, below warm_start, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = 'echo $STAGES_WARM; read -r line; exit "$line"'
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
        self.environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.lib.project.warm_start", "sh", "-c", script],
            cwd=folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.sockets = Path(self.process.stdout.readline().strip())
        self.inside = self.environment | {"STAGES_WARM": str(self.sockets)}  # what the command has
        for variables in ({}, GIVE_BACK):
            assert self.run("probe", "tell", **variables)[1].startswith("False"), (
                "nothing is imported before it is wanted"
            )
        wait_until(lambda: len([path for path in self.sockets.iterdir() if not path.suffix]) == 2, 120)

    def start(self, *words: str, warm: bool = True, **variables: str) -> subprocess.Popen:
        """Start `python -m stages.WORDS`."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{words[0]}", *words[1:]], cwd=self.folder, text=True,
            env=(self.inside if warm else self.environment) | variables, stdin=pipe, stdout=pipe, stderr=pipe,
            preexec_fn=heed_ctrl_c,
        )  # fmt: skip

    def run(self, *words: str, warm: bool = True, **variables: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of `python -m stages.WORDS` that reads "typed"."""
        process = self.start(*words, warm=warm, **variables)
        output, errors = process.communicate("typed", timeout=120)
        return process.returncode, output, errors

    def end(self, status: int) -> int:
        """End the command with this exit status; the one that came out."""
        self.process.communicate(f"{status}\n", timeout=60)
        return self.process.returncode


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Return as soon as it is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    """Whether it ended, whoever should have taken notice."""
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def heed_ctrl_c() -> None:
    """As a terminal starts a process: a shell has those in its background ignore Ctrl-C, and these tests too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def command(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """One command for all tests, in a tiny project with a copy of the stages and one more."""
    folder = tmp_path_factory.mktemp("warm") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32",))
    shutil.copytree(PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / DVC_CACHE).mkdir(parents=True)
    (folder / "stages/probe.py").write_text(PROBE, encoding="utf-8")
    command = Command(folder)
    yield command
    command.process.kill()
    command.process.wait()


def test_streams_folder_variables_and_arguments_arrive(command: Command) -> None:
    """Protects what a stage reads and writes; it works in a process with libraries."""
    status, output, errors = command.run("probe", "tell", "a b", "--c", DVC_STAGE="a stage")
    assert output == f"True {command.folder} {0o22} a stage ['a b', '--c'] typed\n"
    assert (status, errors) == (0, "to standard error\n")


@pytest.mark.parametrize("words", [("exit", "7"), ("raise",), ("die",), ("pool", "1", "-1", "2")])
def test_a_failure_looks_the_same(command: Command, words: tuple[str, ...]) -> None:
    """Protects exit status, signal and message of a stage that fails."""
    warm, cold = command.run("probe", *words), command.run("probe", *words, warm=False)
    assert warm == cold and warm[0] != 0


def test_other_variables_are_for_a_process_of_its_own(command: Command) -> None:
    """Protects from libraries that were imported with another number of threads."""
    assert command.run("probe", "tell")[1].startswith("True")
    assert command.run("probe", "tell", OMP_NUM_THREADS="2")[1].startswith("False")
    assert command.run("probe", "tell", STAGES_WARM="/nowhere")[1].startswith("False")


def test_it_is_as_large_as_a_process_of_its_own(command: Command) -> None:
    """Protects the memory figures that a stage takes of itself: pages of libraries count in both."""
    warm, cold = (int(command.run("probe", "memory", warm=warm)[1]) for warm in (True, False))
    assert cold > 200 * 1024**2
    assert abs(warm / cold - 1) < 0.03, (warm, cold)


def test_a_changed_stage_is_read_again(command: Command) -> None:
    """Protects who edits code while the command runs."""
    path = command.folder / "stages/lib/project/languages.py"
    text = path.read_text(encoding="utf-8")
    (command.folder / "stages/edited.py").write_text("from stages.lib import languages", encoding="utf-8")
    path.write_text("print('edited')", encoding="utf-8")
    assert command.run("edited")[1] == "edited\n"
    path.write_text(text, encoding="utf-8")
    assert command.run("edited")[1] == ""


def test_a_killed_stage_leaves_nothing_behind(command: Command) -> None:
    """Protects the machine, and who waits for the exit status; a stage below it, as quantize starts one, goes too."""
    process = command.start("probe", "sleep")
    stage, below, is_below_warm = process.stdout.readline().split()
    stage, below = int(stage), int(below)
    assert is_below_warm == "True"
    assert stage != process.pid and not is_gone(stage) and not is_gone(below)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: is_gone(stage) and is_gone(below))
    process.communicate()


def test_ctrl_c_ends_it_as_ever(command: Command) -> None:
    process = command.start("probe", "wait")
    stage = int(process.stdout.readline().split()[0])
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == "interrupted\n"
    assert process.returncode == 1 and is_gone(stage)


@pytest.mark.parametrize("delay_s", [0.15, 0.2, 0.25, 0.3, 0.35])
def test_ctrl_c_is_heeded_at_any_moment(command: Command, delay_s: float) -> None:
    """Protects who changes their mind at once: about the time at which the stage begins, no signal is lost."""
    process = command.start("probe", "wait")
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode


def test_a_pool_is_forked_and_gives_the_same(command: Command) -> None:
    """Protects results and their order; only forked ones have libraries that it does not use."""
    assert command.run("probe", "pool", "3", "1", "2") == (0, "[9, 1, 4] True False\n", "")
    assert command.run("probe", "pool", "3", "1", "2", warm=False) == (0, "[9, 1, 4] False False\n", "")


def test_images_are_the_same_bytes(command: Command) -> None:
    """Protects the results: generated by a forked process as by one of its own."""
    found = []
    for warm in (True, False):
        output = command.folder / f"data/runs/tiny/images/{warm}"
        words = [
            "--variant",
            "fp32",
            "--model",
            "data/runs/tiny/models/fp32",
            "--noise",
            "data/runs/tiny/noise.safetensors",
            "--output",
        ]
        status, _, errors = command.run("generate", *words, str(output), warm=warm)
        assert status == 0, errors
        found.append({path.name: path.read_bytes() for path in output.iterdir()})
    assert found[0] == found[1] and len(found[0]) == 5


def test_dvc_hands_its_stages_over(command: Command) -> None:
    """Protects the time that is won: DVC sets variables of its own."""
    (command.folder / "dvc.yaml").write_text("stages: {one: {cmd: python -m stages.probe tell}}", encoding="utf-8")
    for words in (["init", "--no-scm", "--quiet", "--force"], ["repro"]):
        done = subprocess.run(
            ["dvc", *words], cwd=command.folder, env=command.inside, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
    assert f"\nTrue {command.folder}" in done.stdout


def test_libraries_are_imported_at_once_where_nothing_was_made(tmp_path: Path) -> None:
    """Protects the time of the first run, all of whose stages want them."""
    words = [sys.executable, "-m", "stages.lib.project.warm_start", "sh", "-c", "echo $STAGES_WARM; read -r line"]
    variables = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        words, cwd=tmp_path, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folder = Path(process.stdout.readline().strip())
        wait_until(lambda: len([path for path in folder.iterdir() if path.is_socket()]) == 2, 120)
        process.stdin.write("end\n")
        process.stdin.close()
    wait_until(lambda: not folder.exists())


def test_the_end_of_the_command_ends_all(command: Command) -> None:
    """Protects its exit status, and the temporary folder and memory of the machine; the last test of this file."""
    process = command.start("probe", "wait")
    stage = int(process.stdout.readline().split()[0])
    assert command.end(7) == 7
    wait_until(lambda: not command.sockets.exists() and is_gone(stage))
    assert "ended, perhaps for want of memory" in process.communicate()[1] and process.returncode == 1


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    words = [sys.executable, "-m", "stages.lib.project.warm_start", "no-such-command"]
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: no-such-command: No such file or directory\n")
    wait_until(lambda: not list(tmp_path.iterdir()))
