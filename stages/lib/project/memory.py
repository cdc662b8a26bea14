"""Is there room for a task, and how much memory did this process use at most?

Meters count on demand from zero: resident memory on a CPU, allocated memory on a GPU.
"""

import threading
from pathlib import Path
from typing import Literal, Protocol

from stages.lib.project.errors import UserError

MIB = 1024**2
GIB = 1024**3
# What a process takes besides a model: Python and the libraries.
PROCESS_BYTES = GIB // 2
SAMPLING_INTERVAL_S = 0.005
SLACK_BYTES = 4 * MIB  # what a process may come to use between two looks at it


def check_memory(model_bytes: float, task: str, processes: int = 1) -> None:
    """Raise a UserError unless this machine has room for `task`, before the system kills it halfway.

    The need is `model_bytes` for what is held of the model at the peak, and PROCESS_BYTES for each process. It is
    compared with what psutil calls available: free memory and caches that can be given up.
    """
    import psutil

    needed, available = model_bytes + processes * PROCESS_BYTES, psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"{task} needs about {needed / GIB:.1f} GiB of memory, and {available / GIB:.1f} GiB are available: close "
            "other programs, choose a smaller model in params.yaml, key 'model', or use a machine with more memory"
        )


class PeakMeter(Protocol):
    """Meters count from the start of the process (a GPU's: from its first use) or from the last `reset`."""

    kind: Literal["rss", "cuda"]
    method: str

    def peak_mib(self) -> float:
        """The highest use since then, in MiB."""

    def reset(self) -> None:
        """Begin anew from what is in use now."""


def process_meter() -> PeakMeter:
    """The meter of this process's resident memory; to be called before anything large is imported."""
    return KernelMeter() if kernel_can_reset() else SamplingMeter()


class KernelMeter:
    """Linux keeps the highest resident size (VmHWM); writing 5 to clear_refs resets it (man 5 proc)."""

    kind = "rss"
    method = "VmHWM of the Linux kernel"

    def peak_mib(self) -> float:
        return _status_bytes("VmHWM") / MIB

    def reset(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")


class SamplingMeter:
    """For other systems: a thread looks at the resident size every 5 ms, so a shorter peak is missed."""

    kind = "rss"
    method = f"resident size sampled every {SAMPLING_INTERVAL_S * 1000:.0f} ms"

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self.reset()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(SAMPLING_INTERVAL_S):
            self._highest_bytes = max(self._highest_bytes, self._process.memory_info().rss)

    def peak_mib(self) -> float:
        return max(self._highest_bytes, self._process.memory_info().rss) / MIB

    def reset(self) -> None:
        self._highest_bytes = self._process.memory_info().rss


class CudaMeter:
    """What PyTorch's allocator had handed out at most; other users of the GPU do not count."""

    kind = "cuda"
    method = "torch.cuda.max_memory_allocated"

    def peak_mib(self) -> float:
        import torch

        return torch.cuda.max_memory_allocated() / MIB

    def reset(self) -> None:
        import torch

        torch.cuda.reset_peak_memory_stats()


def resident_mib() -> float:
    """The resident size of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MIB


def kernel_can_reset() -> bool:
    """Whether the kernel keeps VmHWM and a reset takes effect; some sandboxes accept the write and do nothing."""
    try:
        block = bytearray(8 * SLACK_BYTES)
        block[::4096] = b"x" * len(block[::4096])  # touch every page, so that the peak lies above what follows
        before_bytes = _status_bytes("VmHWM")
        del block
        Path("/proc/self/clear_refs").write_text("5")
        return _status_bytes("VmHWM") <= before_bytes - SLACK_BYTES
    except (OSError, KeyError):
        return False


def _status_bytes(field: str) -> int:
    """A field of /proc/self/status; KeyError if the kernel does not report it."""
    with open("/proc/self/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields[field].split()[0]) * 1024
