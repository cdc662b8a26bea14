"""What a pipeline must know of a graph that stands for one of its networks: what it is given, and what it answers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.lib.models.calls import NetworkCall, join, split
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, write_json

CALL_FILE = "call.json"
ABSENT = {"value": None}


@dataclass(frozen=True)
class Time:
    """A time that a network makes sines of: `argument` of its call times `factor`, in its module `module`.

    `alike`: all rows of a batch have the same, so that one row is made.
    """

    module: str
    argument: str
    factor: int
    alike: bool


@dataclass(frozen=True)
class GraphCall:
    """A call of `entry` of a network, with `arguments` and an `answer` of these forms (stages.lib.models.calls).

    `inputs`: shapes by name, those of one image. `open_dimensions`: which of their dimensions differ, between calls or
    with the batch. `times`: by the name of the input that is made of each. `outputs`: those tensors of the answer that
    the pipeline looks at. `left_out`: modules of the network that are never called.
    """

    entry: str
    arguments: dict[str, Any]
    answer: dict[str, Any]
    inputs: Mapping[str, Sequence[int]]
    open_dimensions: Mapping[str, Sequence[int]]
    times: Mapping[str, Time]
    outputs: Sequence[str]
    left_out: Sequence[str]

    def given(self, network: nn.Module, call: NetworkCall) -> dict[str, torch.Tensor]:
        """The inputs for `call`. `network` makes the sines of times, for which it needs no weights.

        A call that differs from the traced one in more than its tensors is a UserError.
        """
        tensors, form = split(call.arguments)
        if call.entry != self.entry or essential(form) != essential(self.arguments):
            raise UserError(
                f"a {type(network).__name__} is called with other arguments than its graph was made for: calls that "
                "differ in more than tensors are not for a graph; leave it out of `components`"
            )
        made = {name: sines(network.get_submodule(time.module), time, tensors) for name, time in self.times.items()}
        return {name: (tensors | made)[name] for name in self.inputs}

    def answered(self, tensors: Sequence[torch.Tensor]) -> Any:
        """The network's answer with the outputs `tensors` in it; what the pipeline does not look at is empty."""
        return join(self.answer, defaultdict(lambda: torch.empty(0), zip(self.outputs, tensors, strict=True)))


def sines(maker: nn.Module, time: Time, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What `maker` makes of a time among the `tensors` of a call, FP32 (rows, channels)."""
    values = tensors[time.argument].reshape(-1)
    return maker((values[:1] if time.alike else values).float() * time.factor).float()


def essential(form: Mapping[str, Any]) -> dict[str, Any]:
    """The form of a call's arguments without those that are None: as if they were not given."""
    return {name: item for name, item in form["items"].items() if item != ABSENT}


def write_graph_call(folder: Path, component: str, described: GraphCall) -> None:
    """Store it beside the graph."""
    write_json(folder / component / CALL_FILE, asdict(described))


def read_graph_call(folder: Path, component: str) -> GraphCall:
    """What `write_graph_call` stored."""
    content = read_json(folder / component / CALL_FILE)
    shapes = {name: tuple(shape) for name, shape in content["inputs"].items()}
    times = {name: Time(**time) for name, time in content["times"].items()}
    return GraphCall(**content | {"inputs": shapes, "times": times})
