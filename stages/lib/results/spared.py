"""Which layers of a denoiser must be spared first: what each causes of the noise that single layers add up to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def shares_of_kinds(layers: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """By kind of layer: its share of the noise variance that single layers at 4 bits add up to, and of the weights."""
    noise, weights = (sum(row[key] for row in layers) for key in ("noise_4_bits", "weights"))
    found: dict[str, tuple[float, float]] = {}
    for row in layers:
        before = found.get(row["kind"], (0.0, 0.0))
        found[row["kind"]] = (before[0] + row["noise_4_bits"] / noise, before[1] + row["weights"] / weights)
    return found


@dataclass(frozen=True)
class Spared:
    """The fewest layers that cause a given share, in fact `noise`, of what single layers at 4 bits add up to."""

    layers: int
    of: int
    noise: float
    weights: float
    kinds: tuple[tuple[str, int], ...]  # with how many each, the most first
    first: str


def to_spare(layers: Sequence[dict[str, Any]], share: float) -> Spared:
    """Of `layers`, the one that suffers most first, as the stage sensitivity_layers writes them."""
    running = np.cumsum([row["noise_4_bits"] for row in layers])
    count = int(np.searchsorted(running, share * running[-1])) + 1
    chosen, total = layers[:count], sum(row["weights"] for row in layers)
    kinds = Counter(row["kind"] for row in chosen).most_common()
    return Spared(
        layers=count,
        of=len(layers),
        noise=float(running[count - 1] / running[-1]),
        weights=sum(row["weights"] for row in chosen) / total,
        kinds=tuple(kinds),
        first=chosen[0]["layer"],
    )
