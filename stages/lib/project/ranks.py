"""Processes that a launcher started, on one host or on many: which share is this one's, and do the others live?

`accelerate launch`, torchrun and scripts of Slurm say it in RANK and WORLD_SIZE. With MASTER_ADDR and MASTER_PORT the
processes meet through torch.distributed (gloo, since no tensors are exchanged), wait for each other, and end when one
of them does. Without an address, as in a Slurm array whose tasks need not run at the same time, none knows of others.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stages.lib.project.errors import UserError, first_line

MEETING_S = 120  # hosts begin at different times; one that died before is as one that never came
SILENCE_S = 25  # after which another host counts as gone; one whose process died is noticed at once
BEAT_S = 1


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `world`; `meets` whether they know of each other."""

    rank: int = 0
    world: int = 1
    meets: bool = False
    wait: Callable[[], None] = field(default=lambda: None)  # until all have come here

    def told(self, value: Any) -> Any:
        """What the first process says."""
        if not self.meets:
            return value
        from torch import distributed

        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]

    def check_same(self, values: Mapping[str, str]) -> None:
        """UserError unless all processes have the same values."""
        if not self.meets:
            return
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, dict(values))
        for rank, others in enumerate(found):
            unlike = [f"{key} ({found[0][key]}, {others[key]})" for key in values if found[0][key] != others[key]]
            if unlike:
                raise UserError(
                    f"processes 0 and {rank} of {self.world} would generate different images, since they differ in "
                    f"{', '.join(unlike)}: give all hosts the same checkout, data, libraries and kind of device"
                )


@contextmanager
def launched_ranks(variables: Mapping[str, str]) -> Iterator[Ranks]:
    """What the launcher says in `variables`; nothing said is one process. An error in one process ends all."""
    rank, world = (_number(variables, name, least) for name, least in (("RANK", 0), ("WORLD_SIZE", 1)))
    if rank >= world:
        raise UserError(f"environment variable RANK is {rank}: it must be less than WORLD_SIZE, which is {world}")
    if world == 1 or not variables.get("MASTER_ADDR"):
        yield Ranks(rank, world)
        return
    from torch import distributed

    try:
        distributed.init_process_group("gloo", rank=rank, world_size=world, timeout=timedelta(seconds=MEETING_S))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"process {rank} of {world} does not find the first one at {variables['MASTER_ADDR']}:"
            f"{variables.get('MASTER_PORT')} ({_reason(error)}): start all within {MEETING_S} s, at an address and "
            "a port that every host reaches"
        ) from None
    watch = _Watch(world)
    try:
        yield Ranks(rank, world, True, watch.wait)
    except BaseException:
        watch.leave()
        raise
    finally:
        distributed.destroy_process_group()


def _number(variables: Mapping[str, str], name: str, least: int) -> int:
    value = variables.get(name) or str(least)
    if not (value.isascii() and value.isdigit() and int(value) >= least):
        raise UserError(f"environment variable {name} has the value '{value}': use a whole number from {least}")
    return int(value)


def _reason(error: Exception) -> str:
    """What gloo says, without the place in its source that it begins with."""
    return first_line(error).rpartition("] ")[2]


class _Watch:
    """A thread of each process that sums up, once a second, how many have come to the end and how many have failed.

    It has ended before its process does: Python ends a thread that is inside gloo by aborting the process.
    """

    def __init__(self, world: int) -> None:
        from torch import distributed

        self.world, self.done, self.failed = world, threading.Event(), False
        self.group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=SILENCE_S))
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Return as soon as every process waits."""
        self.done.set()
        self.thread.join()

    def leave(self) -> None:
        """Tell the others that this process fails."""
        self.failed = True
        self.wait()

    def _look(self) -> None:
        import torch
        from torch import distributed

        waiting, failed = 0, 0
        while waiting < self.world:
            self.done.wait(BEAT_S)
            counts = torch.tensor([self.done.is_set(), self.failed], dtype=torch.int32)
            try:
                distributed.all_reduce(counts, group=self.group)
                waiting, failed = counts.tolist()
                reason = "with an error of its own"
            except RuntimeError as error:
                failed, reason = 1, f"({_reason(error)})"
            if self.failed and failed:
                return
            if failed:
                print(
                    f"error: another of {self.world} processes has ended {reason}: what is whole is kept, "
                    "and the same command goes on from there",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)  # the main thread computes
