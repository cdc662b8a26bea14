"""Work shared out to processes: each opens what it needs once, then takes one item after another.

Processes of one thread each draw pictures faster than one process of several threads (1.4 times on two cores), and a
picture drawn by one thread is the same on a machine of any size.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from stages.lib.project.errors import UserError
from stages.lib.project.warm_request import is_warm, running_threads

MOST_PROCESSES = 8
ITEMS_PER_PROCESS = 4  # fewer do not pay for the start of another process
Opened, Item, Result = TypeVar("Opened"), TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Crew:
    """How many processes work at the same time, and with how many threads each."""

    processes: int
    threads: int


def crew_for(
    items: int,
    threads: int,
    each_bytes: float,
    available_bytes: float,
    items_per_process: int = ITEMS_PER_PROCESS,
) -> Crew:
    """The crew for so many items on a machine that computes with `threads` threads.

    `each_bytes` is what a process takes of `available_bytes` of memory. No process is started for fewer than
    `items_per_process`.
    """
    fitting = int(available_bytes // each_bytes) if each_bytes else MOST_PROCESSES
    processes = max(1, min(threads, MOST_PROCESSES, items // items_per_process, fitting))
    return Crew(processes, max(1, threads // processes))


def thread_count(physical_cores: int, variables: Mapping[str, str]) -> int:
    """The threads torch computes with: what the variables ask for, else one per physical core."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = variables.get(name, "").split(",")[0].strip()
        if value:
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                raise UserError(f"environment variable {name} has the value '{value}': use a whole number from 1")
            return int(value)
    return physical_cores


def threads_here() -> int:
    """`thread_count` of this machine and this process's environment."""
    import psutil

    return thread_count(psutil.cpu_count(logical=False) or psutil.cpu_count() or 1, os.environ)


def map_in_crew(
    open: Callable[[], Opened], do: Callable[[Opened, Item], Result], items: Sequence[Item], crew: Crew
) -> Iterator[Result]:
    """`do` of what `open` gives and of each item, in order; both are functions that another process can import.

    A crew of one is this process itself. An error in one of them ends all; a process that dies is a UserError.
    """
    if crew.processes == 1:
        return _map_here(open, do, items, crew.threads)
    pool = ProcessPoolExecutor(crew.processes, _context(), initializer=_begin, initargs=(open, crew.threads))
    pool.submit(int)  # it forks now, before the caller shows progress, which takes a thread
    return _map_in_pool(pool, do, items, crew)


def _context() -> BaseContext:
    """How to start processes that compute: forked if that is safe and spares them imports, else anew."""
    if not is_warm() or running_threads() > 1:
        return get_context("spawn")
    torch = sys.modules.get("torch")
    return get_context("spawn" if torch and torch.cuda.is_initialized() else "fork")


def _map_here(
    open: Callable[[], Opened], do: Callable[[Opened, Item], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    import torch

    torch.set_num_threads(threads)
    opened = open()
    yield from (do(opened, item) for item in items)


def _map_in_pool(
    pool: ProcessPoolExecutor, do: Callable[[Opened, Item], Result], items: Sequence[Item], crew: Crew
) -> Iterator[Result]:
    with pool:
        try:
            yield from pool.map(partial(_do, do), items)
        except BrokenProcessPool:
            raise UserError(
                f"one of {crew.processes} processes died, perhaps for want of memory: close other programs, or set the "
                "environment variable OMP_NUM_THREADS=1, which makes it one process"
            ) from None


_here: dict[str, Any] = {}


def _begin(open: Callable[[], Any], threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _here.update(open=open, threads=threads)


def _end_with_parent() -> None:
    """Without it a killed parent would leave processes that wait for work for ever."""
    parent_process().join()
    os._exit(1)


def _do(do: Callable[[Any, Any], Any], item: Any) -> Any:
    if "opened" not in _here:  # not in _begin, where an error would lose its message
        import torch

        torch.set_num_threads(_here["threads"])
        _here["opened"] = _here["open"]()
    return do(_here["opened"], item)
