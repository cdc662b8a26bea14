"""Memory meters see what was taken and forget it when they are reset."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.memory import GIB, MIB, KernelMeter, SamplingMeter, check_memory, kernel_can_reset
from tests.processes import wait_until


@pytest.mark.parametrize("meter_class", [KernelMeter, SamplingMeter])
def test_a_meter_sees_a_peak_that_is_over_and_forgets_it(meter_class: type) -> None:
    """Protects the run peak from what loading took, and both from reading the present use."""
    if meter_class is KernelMeter and not kernel_can_reset():
        pytest.skip("this kernel does not reset VmHWM")
    before_mib, during_mib, after_mib, reset_mib = in_a_fresh_process(peaks, meter_class)
    assert 60 <= during_mib - before_mib <= 80
    # The sampling thread may miss the block; the kernel's counters are exact to some pages per core.
    assert after_mib >= during_mib - 1 or meter_class is SamplingMeter
    assert reset_mib - before_mib <= 16


def test_the_sampling_meter_looks_by_itself() -> None:
    """Protects the peaks between two questions: a block that lives for a while is seen without asking."""
    assert in_a_fresh_process(unasked_growth_mib) >= 60


def in_a_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns where no earlier test has left memory that the system takes back meanwhile."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peaks(meter_class: type) -> list[float]:
    """What a meter says, in MiB: at first, with a block of 64 MiB, when that is gone, and after a reset."""
    meter = meter_class()
    meter.reset()
    found = [meter.peak_mib()]
    block = touched_block()
    found.append(meter.peak_mib())
    del block
    found.append(meter.peak_mib())
    meter.reset()
    return [*found, meter.peak_mib()]


def unasked_growth_mib() -> float:
    """By how much the peak of a sampling meter grows while a block of 64 MiB is there until it has looked."""
    meter = SamplingMeter()
    before_mib = meter.peak_mib()
    seen_from = (before_mib + 32) * MIB
    block = touched_block()
    wait_until(lambda: meter._highest_bytes > seen_from, "a look of the meter's thread")
    del block
    return meter.peak_mib() - before_mib


def touched_block() -> bytearray:
    """64 MiB, every page of them touched, whatever its size."""
    block = bytearray(64 * MIB)
    block[::1024] = b"x" * (64 * 1024)
    return block


def test_too_little_memory_is_one_message_with_the_figure_before_anything_is_loaded(monkeypatch) -> None:
    """Protects from the system's killer: model and process are counted, and what is enough passes."""
    import psutil

    class Machine:
        available = 4 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Machine)
    check_memory(3 * GIB, "loading INT8")
    with pytest.raises(UserError, match="loading INT8 needs about 4.5 GiB of memory, and 4.0 GiB are available: close"):
        check_memory(4 * GIB, "loading INT8")
    with pytest.raises(UserError, match="timing needs about 4.1 GiB"):
        check_memory(3.1 * GIB, "timing", processes=2)
