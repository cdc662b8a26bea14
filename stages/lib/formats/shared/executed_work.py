"""What a variant multiplies in: the rows in which every back end reports it, and what follows from them.

Counted are multiply-accumulates of convolutions, linear layers and attention, as they were executed: one for each
product that is added to a sum. The dtype is that of the factors when they are multiplied: a kernel that unpacks INT8
weights and multiplies in FP32 is FP32.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OPERATORS = ("Conv2d", "Linear", "MatMul", "Conv1d", "Conv3d")
EXECUTED_DTYPES = ("int8", "float8", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class ExecutedWork:
    """All multiplications of one kind in one call of a graph: the row that back ends and reports/M/timing share.

    component: the model's own name of a network. graph: "main", or for the calls of the denoiser that a schedule
    spares "unquantized" (its entry "none") or the precision that its entry names. operator: one of OPERATORS; MatMul is
    a product of attention, which has two, fused or not. dtype: one of EXECUTED_DTYPES. layers, multiply_accumulates: of
    one call. time_s: what these layers take in one call where they run, by a clock around each or the runtime's own
    profiler, the median of several calls. calls: how often an image calls this graph; the benchmark fills it in.
    """

    component: str
    graph: str
    operator: str
    dtype: str
    layers: int
    multiply_accumulates: int
    time_s: float
    calls: int = 1

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS or self.dtype not in EXECUTED_DTYPES:
            raise ValueError(f"work of operator '{self.operator}' in '{self.dtype}' is not of a known kind")

    @property
    def image_multiply_accumulates(self) -> int:
        """Multiply-accumulates of one image."""
        return self.multiply_accumulates * self.calls

    @property
    def image_time_s(self) -> float:
        """Seconds of one image."""
        return self.time_s * self.calls

    def as_json(self) -> dict[str, Any]:
        """The row as a JSON object, with its throughput in 10^9 multiply-accumulates per second."""
        return {**asdict(self), "gmac_per_s": throughput([self])}


def work_of(rows: Iterable[Mapping[str, Any]]) -> list[ExecutedWork]:
    """The rows that `as_json` wrote."""
    return [ExecutedWork(**{key: row[key] for key in ExecutedWork.__dataclass_fields__}) for row in rows]


def throughput(rows: Sequence[ExecutedWork]) -> float | None:
    """10^9 multiply-accumulates per second of an image's kernels; None where there are none or none took time."""
    time_s = sum(row.image_time_s for row in rows)
    return sum(row.image_multiply_accumulates for row in rows) / time_s / 1e9 if time_s else None


def image_calls(row: ExecutedWork, calls: Mapping[str, int], schedule: Sequence[str], scheduled: bool) -> int:
    """How often an image calls the graph of `row`: `calls` of its component, shared out by `schedule` if it has one.

    A schedule has one entry per call of the denoiser from the first: "int8" is the graph "main", "none" is
    "unquantized", and any other entry has a graph of its name.
    """
    total = calls[row.component]
    if not scheduled:
        return total
    spared = [entry for entry in schedule[:total] if entry != "int8"]
    if row.graph == "main":
        return total - len(spared)
    return spared.count("none" if row.graph == "unquantized" else row.graph)


def shares(rows: Iterable[ExecutedWork]) -> dict[str, float]:
    """The share (0 to 1) of an image's multiply-accumulates that is executed in each dtype, in EXECUTED_DTYPES' order.

    Dtypes in which nothing is executed are left out; nothing at all gives an empty dictionary.
    """
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row.dtype] += row.image_multiply_accumulates
    total = sum(sums.values())
    return {dtype: sums[dtype] / total for dtype in EXECUTED_DTYPES if sums[dtype]}


def by_operator(rows: Sequence[ExecutedWork]) -> dict[str, list[ExecutedWork]]:
    """The rows of each operator that occurs, in OPERATORS' order."""
    found = {operator: [row for row in rows if row.operator == operator] for operator in OPERATORS}
    return {operator: mine for operator, mine in found.items() if mine}
