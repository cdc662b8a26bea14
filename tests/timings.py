"""Calls of a timing whose ratios are as wanted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLAIN = {"steal": 0.0, "interruptions_per_s": 5.0, "mhz": 2600.0, "discarded": False}


def calls_of(restarts: Sequence[Sequence[float]], reference_s: float = 1.0, name: str = "v") -> list[dict[str, Any]]:
    """Pairs of calls, by restart, whose ratios are `restarts`."""
    found = []
    for restart, ratios in enumerate(restarts):
        for ratio in ratios:
            for role, latency_s in (("variant", reference_s / ratio), ("baseline", reference_s)):
                variant = name if role == "variant" else "fp32"
                found.append({"restart": restart, "role": role, "variant": variant, "latency_s": latency_s, **PLAIN})
    return [{"call": number, **call} for number, call in enumerate(found)]


def spread(value: float, factor: float = 1.0) -> list[list[float]]:
    """Two restarts whose ratio is `value`, and the bootstrap's interval from `value / factor` to `value * factor`."""
    return [[value / factor], [value * factor]]


def set_speedup(path: Path, value: float, factor: float = 1.0, **changes: Any) -> None:
    """Give a timing file that ratio and interval over a baseline that takes one second."""
    timing = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**timing, "calls": calls_of(spread(value, factor)), **changes}), encoding="utf-8")
