"""How fast should a variant be, if nothing but its multiplications had changed? Amdahl's law from measured parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from stages.lib.formats.shared.executed_work import work_of
from stages.lib.timing.ratios import Ratio


@dataclass(frozen=True)
class Run:
    """One image: its time, and the time of its multiplications alone.

    Both as multiples of the time of the baseline's image in the same benchmark, so that runs of several benchmarks
    can be compared though the machine's speed drifts between them.
    """

    time: float
    multiplication: float

    @property
    def rest(self) -> float:
        """Everything but multiplications: at least 0, whatever the clocks around single layers add."""
        return max(0.0, self.time - self.multiplication)


@dataclass(frozen=True)
class Prediction:
    """The speed-up of `variant` over `reference`: predicted from its kernels, and measured."""

    reference: Run
    variant: Run

    @property
    def multiplication_share(self) -> float:
        """What part (0 to 1) of the reference's image is multiplication: all that faster kernels can save."""
        return min(1.0, self.reference.multiplication / self.reference.time)

    @property
    def predicted(self) -> float:
        """The reference's rest and multiplications over its rest and the variant's multiplications.

        G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing capabilities",
        AFIPS 1967, with the measured throughput of each kernel class in place of one factor.
        """
        return (self.reference.rest + self.reference.multiplication) / (
            self.reference.rest + self.variant.multiplication
        )

    @property
    def measured(self) -> float:
        """The reference's time over the variant's."""
        return self.reference.time / self.variant.time

    @property
    def ratio(self) -> float:
        """Measured over predicted: below 1, what is not multiplication takes longer than in the reference."""
        return self.measured / self.predicted


def runs(timing: Mapping[str, Any]) -> tuple[Run, Run]:
    """The baseline's run and the variant's, of one reports/M/timing/V.json."""
    baseline_s = median(call["latency_s"] for call in timing["calls"] if call["role"] == "baseline")
    multiplication = {
        key: sum(row.image_time_s for row in work_of(timing[key])) / baseline_s
        for key in ("baseline_executed", "executed")
    }
    return (
        Run(1.0, multiplication["baseline_executed"]),
        Run(1 / timing["speedup"], multiplication["executed"]),
    )


@dataclass(frozen=True)
class RuntimeSpeedup:
    """A variant against FP32 in its own runtime: the quotient of two speed-ups over the same baseline.

    `reference` is the name of the variant with the runtime's FP32, `alone` its own speed-up. The two were measured in
    different benchmarks: `low` and `high` are the least and the greatest quotient of values in their intervals, widened
    by the band of the baseline against itself.
    """

    reference: str
    alone: float
    ratio: float
    low: float
    high: float


def runtime_speedup(reference: str, own: Ratio, alone: Ratio, band: tuple[float, float]) -> RuntimeSpeedup:
    """The quotient of the speed-ups of a variant and of its runtime's FP32."""
    return RuntimeSpeedup(
        reference=reference,
        alone=alone.value,
        ratio=own.value / alone.value,
        low=own.low / alone.high * band[0],
        high=own.high / alone.low * band[1],
    )
