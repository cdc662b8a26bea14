"""Processes of a launcher: one that dies ends the others with one message, and what they are told must fit."""

import os
import subprocess
import sys
import time

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.ranks import SILENCE_S, Ranks, launched_ranks
from tests.conftest import PROJECT

CODE = """
import os, sys, time
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.ranks import launched_ranks
def main():
    with launched_ranks(os.environ) as ranks:
        ranks.check_same({"the model": sys.argv[1]})
        print(ranks.told(ranks.rank), flush=True)
        if sys.stdin.readline() == "fail":
            raise UserError("this one's own")
        ranks.wait()
run_stage(main)
"""


def started(rank: int, port: int, model: str = "same") -> subprocess.Popen:
    launched = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": f"127.0.0.{rank + 1}", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, model],
        cwd=PROJECT,
        env=os.environ | launched,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("killed", [0, 1])
def test_one_that_is_killed_ends_the_other_with_one_message(free_port: int, killed: int) -> None:
    """Protects a cluster's time: nobody waits for who will never come."""
    processes = [started(rank, free_port) for rank in (0, 1)]
    assert [process.stdout.readline() for process in processes] == ["0\n", "0\n"]
    processes[killed].kill()
    begin_s = time.monotonic()
    _, errors = processes[1 - killed].communicate(timeout=2 * SILENCE_S)
    assert time.monotonic() - begin_s < 30
    assert processes[1 - killed].returncode == 1
    assert errors.count("\n") == 1 and "another of 2 processes has ended" in errors
    processes[killed].communicate()


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_ends_the_other_at_once(free_port: int, failing: int) -> None:
    """Protects the first message: it is the failing one's own, and no process aborts inside a library."""
    processes = [started(rank, free_port) for rank in (0, 1)]
    assert [process.stdout.readline() for process in processes] == ["0\n", "0\n"]
    begin_s = time.monotonic()
    _, own = processes[failing].communicate("fail", timeout=SILENCE_S)
    _, others = processes[1 - failing].communicate(timeout=SILENCE_S)
    assert time.monotonic() - begin_s < 15
    assert [process.returncode for process in processes] == [1, 1]
    assert own == "error: this one's own\n"
    assert others.count("\n") == 1 and "another of 2 processes has ended" in others


def test_those_that_would_generate_something_else_do_not_begin(free_port: int) -> None:
    processes = [started(rank, free_port, model) for rank, model in enumerate(("one", "other"))]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1 and "they differ in the model (one, other)" in errors, errors


def test_nothing_said_is_one_process_and_without_an_address_none_meets():
    for variables, expected in (({}, Ranks()), ({"RANK": "1", "WORLD_SIZE": "3"}, Ranks(1, 3))):
        with launched_ranks(variables) as ranks:
            assert (ranks.rank, ranks.world, ranks.meets) == (expected.rank, expected.world, False)
            assert ranks.told("it") == "it"


@pytest.mark.parametrize("variables", [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "a"}, {"WORLD_SIZE": "0"}])
def test_a_number_that_fits_nothing_is_one_message(variables: dict[str, str]) -> None:
    with pytest.raises(UserError, match="environment variable (RANK|WORLD_SIZE)"), launched_ranks(variables):
        pass
