"""Stages forked from a process that has the libraries: they end as if started anew, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.lib.project.files import write_json
from tests.conftest import PROJECT
from tests.processes import HANGING_S, is_gone, wait_until
from tools.warm import WARM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux only")
# Answers each line of its input as the process with the libraries does; of these a small one stands for all.
SERVER = """
import os, sys
from tools import warm

def import_one():
    import colorsys

warm.import_libraries = import_one
warm.WARM.add("probe")
server = warm.WarmProcess()
for line in sys.stdin:
    print(server.run(line, {**os.environ, "TOLD": "yes", "DVC_STAGE": "probe", "DVC_ROOT": os.getcwd()}), flush=True)
"""
# A stage that tells of itself and does as it is told.
PROBE = """
import os, sys, time
had = "colorsys" in sys.modules
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.worker_pool import WorkerPool, map_in_pool

def opened(): return os.getpid()
def square(opened, item): return item * item, "colorsys" in sys.modules and opened != os.getppid()

def main():
    action, *values = sys.argv[1:]
    if action == "tell": print(had, os.environ.get("TOLD"), values, os.getcwd(), flush=True)
    if action == "exit": sys.exit(int(values[0]))
    if action == "raise": raise UserError("this file is wrong")
    if action == "pool": print(list(map_in_pool(opened, square, [1, 2, 3], WorkerPool(2, 1))), flush=True)
    if action == "sleep":
        print(os.getpid(), flush=True)
        time.sleep(3600)

if __name__ == "__main__":
    run_stage(main)
"""


class Server:
    """The process below a command, in `folder`."""

    def __init__(self, folder: Path) -> None:
        for name in ("probe", "probe2"):  # the second is none of those that are always forked
            (folder / f"{name}.py").write_text(PROBE, encoding="utf-8")
        path = f"{folder}{os.pathsep}{PROJECT}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=folder, env={**os.environ, "PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "errors").open("w"), start_new_session=True,
        )  # fmt: skip

    def send(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def run(self, command: str) -> tuple[list[str], str]:
        """What the stage prints, and its exit status."""
        self.send(command)
        lines = [self.line()]
        while not re.fullmatch(r"None|-?\d+", lines[-1]):
            lines.append(self.line())
        return lines[:-1], lines[-1]


@pytest.fixture
def server(tmp_path: Path):
    server = Server(tmp_path)
    yield server
    server.process.kill()
    server.process.wait(HANGING_S)


def test_a_stage_runs_as_if_started_anew_and_has_the_libraries(server, tmp_path):
    """Protects arguments, variables, folder and exit status; the second one finds nothing of the first."""
    for value in ("a", "b c"):
        lines, status = server.run(f"python -m probe tell '{value}'")
        assert (lines, status) == ([f"True yes ['{value}'] {tmp_path}"], "0")
    assert server.run("python -m probe exit 3") == ([], "3")
    assert server.run("python -m probe raise") == ([], "1")
    assert "error: this file is wrong" in (tmp_path / "errors").read_text(encoding="utf-8")


def test_processes_of_a_pool_are_forked_too(server):
    """Protects the imports that they spare."""
    assert server.run("python -m probe pool") == ([str([(1, True), (4, True), (9, True)])], "0")


def test_what_measures_is_left_to_a_process_of_its_own(server):
    """Nothing that measures time or memory is forked: libraries that are there change both."""
    for command in ("python -m stages.quantize", "python -m stages.benchmark", "cat params.yaml"):
        assert server.run(command) == ([], "None")
    stages = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]
    assert {name.removeprefix("stages.") for name in WARM} < set(stages) - {"quantize", "benchmark"}


def test_a_stage_that_only_says_why_it_cannot_run_is_forked(server, tmp_path):
    """Protects a run of few formats from a start of Python for each stage of the others."""
    write_json(tmp_path / "reports/environment.json", {"obstacles": {"fp32": None, "int4": {"reason": "not_in_set"}}})
    told = [f"True yes ['--variant', 'int4'] {tmp_path}"]
    assert server.run("python -m probe2 tell --variant int4") == (told, "0")
    assert server.run("python -m probe2 tell --variant fp32") == ([], "None")
    assert server.run("python -m probe2 tell --variant unknown") == ([], "None")


def test_ctrl_c_ends_a_stage_and_the_command_hears_of_it(server, tmp_path):
    server.send("python -m probe sleep")
    stage = int(server.line())
    os.kill(stage, signal.SIGINT)
    assert server.line() == "1"
    assert "interrupted" in (tmp_path / "errors").read_text(encoding="utf-8") and is_gone(stage)


def test_a_killed_command_leaves_no_process_behind(server):
    server.send("python -m probe sleep")
    stage = int(server.line())
    server.process.kill()
    wait_until(lambda: is_gone(stage), "the end of the stage")
