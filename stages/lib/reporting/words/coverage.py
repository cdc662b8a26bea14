"""What a format's name covers: which weights it stores in INT8, and which multiplications it executes in INT8."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.formats.shared.executed_work import ExecutedWork, by_operator, shares
from stages.lib.reporting.languages import Translate, list_of
from stages.lib.reporting.numbers import dtype_name, percent
from stages.lib.reporting.words.names import names_of

WEIGHTED = ("Conv2d", "Linear", "Embedding")
SHOWN = 0.0005  # a share below that is 0.0 %


@dataclass(frozen=True)
class Coverage:
    """One component, or all (None). Shares are 0 to 1.

    stored_int8: of the parameters of convolutions, linear layers and embeddings. executed: of the
    multiply-accumulates, by dtype. operators: the same of each operator, where operators differ.
    """

    component: str | None
    stored_int8: float
    executed: dict[str, float]
    operators: dict[str, dict[str, float]]

    @property
    def shown(self) -> tuple:
        """What a reader sees of it."""
        rounded = {dtype: round(share, 3) for dtype, share in self.executed.items() if share >= SHOWN}
        return round(self.stored_int8, 3), rounded, tuple(self.operators)


def coverage(size: Mapping[str, Any], work: Sequence[ExecutedWork]) -> list[Coverage]:
    """Each component and then all together; all alone if every component reads the same.

    `size` is reports/M/size/V.json; without `work`, nothing is known to be executed.
    """
    rows = [
        _coverage(component, size, work) for component in dict.fromkeys(row["component"] for row in size["operators"])
    ]
    whole = _coverage(None, size, work)
    return [whole] if all(row.shown == whole.shown for row in rows) else [*rows, whole]


def _coverage(component: str | None, size: Mapping[str, Any], work: Sequence[ExecutedWork]) -> Coverage:
    stored = {True: 0, False: 0}
    for row in size["operators"]:
        if row["operator"] in WEIGHTED and component in (None, row["component"]):
            stored[row["dtype"] == "int8"] += row["parameters"]
    mine = [row for row in work if component in (None, row.component)]
    operators = {operator: shares(rows) for operator, rows in by_operator(mine).items()}
    executed = shares(mine)
    differ = any(
        abs(item.get(dtype, 0) - executed[dtype]) >= SHOWN for item in operators.values() for dtype in executed
    )
    return Coverage(component, stored[True] / max(1, sum(stored.values())), executed, operators if differ else {})


def coverage_sentence(label: str, size: Mapping[str, Any], work: Sequence[ExecutedWork], _: Translate) -> str:
    """What a format that stores INT8 does not do in INT8; empty if it stores none, or does everything in it."""
    whole = _coverage(None, size, work)
    executed = whole.executed.get("int8", 0)
    if not work or whole.stored_int8 < SHOWN or executed > 1 - SHOWN:
        return ""
    if executed < SHOWN:
        text = _(
            "%(label)s stores %(stored)s of its weights as INT8 and executes nothing in INT8: its arithmetic is "
            "%(dtypes)s."
        )
        dtypes = ", ".join(dtype_name(dtype) for dtype, share in whole.executed.items() if share >= SHOWN)
        return text % {"label": label, "stored": percent(whole.stored_int8), "dtypes": dtypes}
    values = {"label": label, "executed": percent(executed)}
    parts = [
        _("%(operator)s (%(share)s) in %(dtype)s")
        % {"operator": names_of("operator", _)[operator], "share": percent(share), "dtype": dtype_name(dtype)}
        for operator, dtype, share in _not_integer(work)
    ]
    if not parts:
        return _("%(label)s executes %(executed)s of its multiply-accumulates in INT8.") % values
    text = _("%(label)s executes %(executed)s of its multiply-accumulates in INT8; it leaves %(parts)s.")
    return text % (values | {"parts": list_of(parts)})


def _not_integer(work: Sequence[ExecutedWork]) -> Iterator[tuple[str, str, float]]:
    """Each operator that is mostly executed in another dtype than INT8: it, that dtype, its share of all work."""
    total = sum(row.image_multiply_accumulates for row in work)
    for operator, rows in by_operator(work).items():
        dtype, _share = max(shares(rows).items(), key=lambda item: item[1])
        if dtype != "int8":
            yield operator, dtype, sum(row.image_multiply_accumulates for row in rows) / total
