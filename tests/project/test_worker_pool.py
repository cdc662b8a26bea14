"""Processes: the size of a pool, items in order, errors with their message, and none left behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.worker_pool import SEMAPHORES, WorkerPool, map_in_pool, pool_for
from tests.conftest import PROJECT
from tests.processes import is_gone, wait_until


def opened() -> list[int]:
    return [os.getpid()]


def square(opened: list[int], item: int) -> tuple[int, int]:
    if item < 0:
        raise UserError(f"{item} is negative")
    if item == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item, opened[0]


def test_a_pool_has_a_process_per_thread_while_items_and_memory_last():
    assert pool_for(34, 2, 1, 100) == WorkerPool(2, 1)
    assert pool_for(34, 2, 60, 100) == WorkerPool(1, 2)
    assert pool_for(34, 2, 200, 100) == WorkerPool(1, 2)
    assert pool_for(3, 4, 1, 100) == WorkerPool(1, 4)
    assert pool_for(1000, 64, 1, 100) == WorkerPool(8, 8)


def test_answers_come_in_order_and_from_that_many_processes():
    for pool in (WorkerPool(1, 1), WorkerPool(2, 1)):
        found = list(map_in_pool(opened, square, range(6), pool))
        assert [answer for answer, _ in found] == [0, 1, 4, 9, 16, 25]
        assert len({process for _, process in found}) <= pool.processes
        assert (os.getpid() in {process for _, process in found}) == (pool.processes == 1)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are files on Linux alone")
def test_semaphores_are_named_after_their_process():
    """Protects the system's memory after a kill: whose they were can be told."""
    found = map_in_pool(opened, square, range(10), WorkerPool(2, 1))
    next(found)
    assert list(Path("/dev/shm").glob(f"sem.{SEMAPHORES}{os.getpid()}-*"))
    list(found)
    del found
    gc.collect()
    assert not list(Path("/dev/shm").glob(f"sem.{SEMAPHORES}{os.getpid()}-*"))


def test_an_error_keeps_its_message_and_a_death_gets_one():
    with pytest.raises(UserError, match="-1 is negative"):
        list(map_in_pool(opened, square, [1, -1, 2], WorkerPool(2, 1)))
    with pytest.raises(UserError, match="one of 2 processes died"):
        list(map_in_pool(opened, square, [1, 99, 2], WorkerPool(2, 1)))


def test_a_killed_parent_leaves_no_process_behind():
    """Protects the machine after a kill in the middle of a stage."""
    code = """
import time
from tests.project.test_worker_pool import *
if __name__ == "__main__":
    found = map_in_pool(opened, square, range(10), WorkerPool(2, 1))
    print(next(found)[1], flush=True)
    time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert not is_gone(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: is_gone(child), "the end of a process of the pool after that of its parent")


def wait_or_fail(opened: list[int], item: int) -> int:
    if item < 0:
        raise UserError(f"{item} is negative")
    time.sleep(item)
    return item


def test_an_error_waits_for_no_other_process():
    begin_s = time.monotonic()
    with pytest.raises(UserError, match="-1 is negative"):
        list(map_in_pool(opened, wait_or_fail, [-1, 600], WorkerPool(2, 1)))
    assert time.monotonic() - begin_s < 300
