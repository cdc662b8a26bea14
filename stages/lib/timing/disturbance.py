"""What else the machine did while a call was timed, and the rule by which a call is discarded."""

import resource
import time
from dataclasses import asdict, dataclass

import psutil

# The rule: in a call the hypervisor took more than so large a share of the processors' time, or this process's threads
# were interrupted more than so often in a second of each of them (a thread of two on two idle cores: 40 to 52).
MOST_STEAL = 0.02
MOST_INTERRUPTIONS_PER_S = 100


@dataclass(frozen=True)
class Disturbance:
    """Of one call. steal: the share (0 to 1) of the processors' time that a hypervisor gave to others.

    interruptions_per_s: involuntary context switches of this process, per second and thread that computes. mhz: the
    processors' clock at its end. None where the system does not tell.
    """

    steal: float | None
    interruptions_per_s: float
    mhz: float | None

    @property
    def discards(self) -> bool:
        """Whether the rule discards the call."""
        return (self.steal or 0.0) > MOST_STEAL or self.interruptions_per_s > MOST_INTERRUPTIONS_PER_S

    def as_json(self) -> dict[str, float | bool | None]:
        """All of it."""
        return {**asdict(self), "discarded": self.discards}


class DisturbanceMeter:
    """Counts from when it is made, in a process that computes with so many `threads`."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._begin = self._now()

    def _now(self) -> tuple[float, float | None, float, int]:
        times = psutil.cpu_times()
        steal = getattr(times, "steal", None)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return time.perf_counter(), steal, sum(times[:8]), switches

    def read(self) -> Disturbance:
        """What happened since it was made."""
        begin, end = self._begin, self._now()
        clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
        total_s = end[2] - begin[2]
        return Disturbance(
            steal=None if end[1] is None or not total_s else (end[1] - begin[1]) / total_s,
            interruptions_per_s=(end[3] - begin[3]) / (end[0] - begin[0]) / self._threads,
            mhz=clock and clock.current,
        )
