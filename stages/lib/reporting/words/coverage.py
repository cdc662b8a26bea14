"""What a format's name covers: which weights it stores in fewer than 16 bits, and what it multiplies in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.formats.shared.executed_work import ExecutedWork, by_operator, shares
from stages.lib.project.variant import DTYPE_BITS
from stages.lib.reporting.languages import Translate, list_of
from stages.lib.reporting.numbers import dtype_name, percent
from stages.lib.reporting.words.names import names_of

WEIGHTED = ("Conv2d", "Linear", "Embedding")
SHOWN = 0.0005  # a share below that is 0.0 %
EXECUTED = ("int8", "float8")  # dtypes of fewer than 16 bits that kernels multiply in
NAMED = 3  # layers that a sentence names


@dataclass(frozen=True)
class Coverage:
    """One component, or all (None). Shares are 0 to 1.

    stored: of the parameters of convolutions, linear layers and embeddings, those in fewer than 16 bits. executed: of
    the multiply-accumulates, by dtype. operators: the same of each operator, where operators differ.
    """

    component: str | None
    stored: float
    executed: dict[str, float]
    operators: dict[str, dict[str, float]]

    @property
    def shown(self) -> tuple:
        """What a reader sees of it."""
        rounded = {dtype: round(share, 3) for dtype, share in self.executed.items() if share >= SHOWN}
        return round(self.stored, 3), rounded, tuple(self.operators)


def coverage(size: Mapping[str, Any], work: Sequence[ExecutedWork]) -> list[Coverage]:
    """Each component and then all together; all alone if every component reads the same.

    `size` is reports/M/size/V.json; without `work`, nothing is known to be executed.
    """
    rows = [
        _coverage(component, size, work) for component in dict.fromkeys(row["component"] for row in size["operators"])
    ]
    whole = _coverage(None, size, work)
    return [whole] if all(row.shown == whole.shown for row in rows) else [*rows, whole]


def _quantized(row: Mapping[str, Any]) -> bool:
    return DTYPE_BITS.get(row["dtype"], 32) < 16


def _coverage(component: str | None, size: Mapping[str, Any], work: Sequence[ExecutedWork]) -> Coverage:
    stored = {True: 0, False: 0}
    for row in size["operators"]:
        if row["operator"] in WEIGHTED and component in (None, row["component"]):
            stored[_quantized(row)] += row["parameters"]
    mine = [row for row in work if component in (None, row.component)]
    operators = {operator: shares(rows) for operator, rows in by_operator(mine).items()}
    executed = shares(mine)
    differ = any(
        abs(item.get(dtype, 0) - executed[dtype]) >= SHOWN for item in operators.values() for dtype in executed
    )
    return Coverage(component, stored[True] / max(1, sum(stored.values())), executed, operators if differ else {})


def coverage_sentence(label: str, size: Mapping[str, Any], work: Sequence[ExecutedWork], _: Translate) -> str:
    """What a format of fewer than 16 bits does not do in it; empty if it stores none, or does everything in it."""
    whole = _coverage(None, size, work)
    dtype = max(EXECUTED, key=lambda name: whole.executed.get(name, 0))
    executed = whole.executed.get(dtype, 0)
    if not work or whole.stored < SHOWN or executed > 1 - SHOWN:
        return ""
    if executed < SHOWN:
        text = _(
            "%(label)s stores %(stored)s of its weights as %(formats)s and executes nothing in fewer than 16 bits: its "
            "arithmetic is %(dtypes)s."
        )
        formats = dict.fromkeys(dtype_name(row["dtype"]) for row in size["operators"] if _quantized(row))
        dtypes = ", ".join(dtype_name(dtype) for dtype, share in whole.executed.items() if share >= SHOWN)
        values = {"label": label, "stored": percent(whole.stored), "dtypes": dtypes}
        return text % (values | {"formats": list_of(list(formats))})
    values = {"label": label, "executed": percent(executed), "dtype": dtype_name(dtype)}
    parts = [
        _("%(operator)s (%(share)s) in %(dtype)s")
        % {"operator": names_of("operator", _)[operator], "share": percent(share), "dtype": dtype_name(dtype)}
        for operator, dtype, share in _not_integer(work)
    ]
    if not parts:
        return _("%(label)s executes %(executed)s of its multiply-accumulates in %(dtype)s.") % values
    text = _("%(label)s executes %(executed)s of its multiply-accumulates in %(dtype)s; it leaves %(parts)s.")
    return text % (values | {"parts": list_of(parts)})


def left_sentence(label: str, size: Mapping[str, Any], _: Translate) -> str:
    """Linear layers that a format stores otherwise than it says, counted and some named; empty if there are none."""
    layers = size.get("linear_layers", {"total": 0, "otherwise": {}})
    parts = []
    for dtype, names in layers["otherwise"].items():
        shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        values = {"count": len(names), "dtype": dtype_name(dtype), "names": shown}
        parts.append(_("%(count)s in %(dtype)s (%(names)s)") % values)
    if not parts:
        return ""
    text = _("%(label)s stores %(count)s of its %(total)s linear layers in another format: %(parts)s.")
    count = sum(map(len, layers["otherwise"].values()))
    return text % {"label": label, "count": count, "total": layers["total"], "parts": list_of(parts)}


def _not_integer(work: Sequence[ExecutedWork]) -> Iterator[tuple[str, str, float]]:
    """Each operator that is mostly executed in 16 bits or more: it, its dtype, its share of all work."""
    total = sum(row.image_multiply_accumulates for row in work)
    for operator, rows in by_operator(work).items():
        dtype, _share = max(shares(rows).items(), key=lambda item: item[1])
        if dtype not in EXECUTED:
            yield operator, dtype, sum(row.image_multiply_accumulates for row in rows) / total
