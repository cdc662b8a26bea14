"""A measurement is a unit and its raw samples; every statistic is computed from them when it is asked for."""

import math
import statistics
from dataclasses import dataclass
from typing import Any

from stages.lib.project.errors import UserError


@dataclass(frozen=True)
class Measurement:
    """Repeated samples of one quantity, in the order they were taken. At least one; each is finite."""

    unit: str
    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("a measurement needs at least one sample")
        if not all(math.isfinite(sample) for sample in self.samples):
            raise ValueError(f"a sample is not a finite number: {self.samples}")

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The middle sample; of an even number, the mean of the two in the middle."""
        return statistics.median(self.samples)

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return statistics.fmean(self.samples)

    @property
    def std(self) -> float:
        """The sample standard deviation (divisor n - 1); 0 for a single sample."""
        return statistics.stdev(self.samples) if self.n > 1 else 0.0

    @property
    def minimum(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def maximum(self) -> float:
        """The largest sample."""
        return max(self.samples)

    def as_json(self) -> dict[str, Any]:
        """The samples with every statistic, ready for a JSON file."""
        return {
            "unit": self.unit,
            "samples": list(self.samples),
            "n": self.n,
            "median": self.median,
            "mean": self.mean,
            "std": self.std,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Measurement":
        """The measurement that `as_json` wrote; its statistics are computed anew. Other keys are ignored."""
        try:
            return cls(unit=value["unit"], samples=tuple(value["samples"]))
        except KeyError as error:
            raise UserError(
                f"a measurement in a JSON file has no {error}: delete that file and run `dvc repro`"
            ) from None
