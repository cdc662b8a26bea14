"""A graph that a runtime prepares for fixed shapes, and what its calls multiply in."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Shapes = dict[str, tuple[int, ...]]
# What the graphs of a network are called in rows of work; others are called as the entry of the schedule.
ROLES = {"scheduled.none_calls": "unquantized"} | dict.fromkeys(("graph", "vision_model.graph"), "main")


@dataclass(frozen=True)
class Layer:
    """Multiplications of one kernel in one dtype."""

    operator: str
    dtype: str
    multiply_accumulates: int
    time_s: float


class ShapedGraph(nn.Module):
    """A graph prepared for the shapes `example`; other shapes are prepared when they come first.

    `calls`: how often each shapes came. A back end says how it prepares, and how what it prepared answers.
    """

    def __init__(self, example: Shapes) -> None:
        super().__init__()
        self.prepared: dict[tuple, Any] = {}
        self.calls: Counter[tuple] = Counter()
        self.example = tuple(example.items())
        self._prepared(self.example)

    def prepare(self, shapes: Shapes) -> Any:
        """What answers inputs of `shapes`."""
        raise NotImplementedError

    def infer(self, prepared: Any, arrays: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs in order."""
        raise NotImplementedError

    def forward(self, **inputs: torch.Tensor) -> list[torch.Tensor]:
        arrays = {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in inputs.items()}
        key = tuple((name, array.shape) for name, array in arrays.items())
        self.calls[key] += 1
        return [torch.from_numpy(array) for array in self.infer(self._prepared(key), arrays)]

    def _prepared(self, key: tuple) -> Any:
        if key not in self.prepared:
            self.prepared[key] = self.prepare(dict(key))
        return self.prepared[key]


def graphs_of(network: nn.Module) -> dict[str, ShapedGraph]:
    """The graphs of a network by their names in it."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ShapedGraph)}


def work_of_calls(
    pipeline: "DiffusionPipeline",
    components: Iterable[str],
    layers_of: Callable[[ShapedGraph, Shapes], Iterable[Layer]],
) -> list[dict[str, Any]]:
    """What one call of each graph multiplies in, rows as in stages.lib.formats: medians over its calls so far.

    `layers_of` tells what a graph does for inputs of some shapes. A graph not called yet is asked for its example's.
    """
    sums: dict[tuple[str, ...], list[tuple]] = defaultdict(list)
    for component in components:
        for name, graph in graphs_of(getattr(pipeline, component)).items():
            role = ROLES.get(name, name.removeprefix("scheduled.").removesuffix("_calls"))
            for key, calls in (graph.calls or {graph.example: 1}).items():
                kinds: dict[tuple[str, str], list[Layer]] = defaultdict(list)
                for layer in layers_of(graph, dict(key)):
                    kinds[layer.operator, layer.dtype].append(layer)
                for kind, layers in kinds.items():
                    work = sum(layer.multiply_accumulates for layer in layers)
                    item = len(layers), work, sum(layer.time_s for layer in layers)
                    sums[component, role, *kind] += [item] * calls
    return [
        {
            **dict(zip(("component", "graph", "operator", "dtype"), kind, strict=True)),
            "layers": round(median(item[0] for item in items)),
            "multiply_accumulates": round(median(item[1] for item in items)),
            "time_s": median(item[2] for item in items),
        }
        for kind, items in sorted(sums.items())
    ]
