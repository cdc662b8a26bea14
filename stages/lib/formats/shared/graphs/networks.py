"""Graphs as networks of a pipeline: the network itself without weights, each call of which a graph answers.

`graph` is a module that is called with the inputs of a GraphCall by name and gives a list of tensors.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.formats.shared.graphs.graph_call import GraphCall, read_graph_call
from stages.lib.models.calls import EMBED, NetworkCall, bind
from stages.lib.models.components import empty_component, load_component, write_component
from stages.lib.models.inventory import files_beside
from stages.lib.models.watch import set_doors
from stages.lib.project.errors import first_line


def write_beside(base: Path, out: Path, component: str, names: Collection[str]) -> None:
    """Store beside a graph what PyTorch reads of the network: the tensors `names` of it, if any."""
    if names:
        state = load_component(base, component, "float32").state_dict()
        write_component(out, component, {name: state[name] for name in names})


def refused(runtime: str, network: str, error: Exception) -> CannotMake:
    """What to raise where a runtime does not load the graph of a `network`: with the end of what it says."""
    message = first_line(error)[-200:]
    return CannotMake({"reason": "graph_refused", "runtime": runtime, "network": network, "message": message})


def inputs_of(
    base: Path, component: str, described: GraphCall, calls: Sequence[NetworkCall]
) -> list[dict[str, np.ndarray]]:
    """What a graph is given for each of `calls`."""
    network = empty_component(base, component)
    return [{name: item.numpy() for name, item in described.given(network, call).items()} for call in calls]


def stand_in(
    folder: Path,
    component: str,
    graph: nn.Module,
    scheduled: Mapping[str, nn.Module] | None = None,
    schedule: Sequence[str] = (),
) -> nn.Module:
    """The module that stands for `component` of `folder`.

    `schedule` names, per call of an image, which graph answers: one of `scheduled`, else `graph`, as in later calls.
    `begin_image` of the module says that the next call is the first of an image.
    """
    network, described = empty_component(folder, component), read_graph_call(folder, component)
    beside: dict[str, torch.Tensor] = {}
    for path in files_beside(folder, component):
        beside |= load_file(path)
    if described.entry == EMBED:
        network.vision_model, network.visual_projection = Vision(network, graph), nn.Identity()
        network.load_state_dict(beside, assign=True)
        return network.eval().requires_grad_(False)
    for module in network.modules():
        module._parameters.clear()
        module._buffers.clear()
    for name, tensor in beside.items():
        owner, _, own = name.rpartition(".")
        network.get_submodule(owner).register_buffer(own, tensor)
    network.graph = graph
    # With a suffix, because a module may not be called as a method is, such as `bfloat16`.
    network.scheduled = nn.ModuleDict({f"{entry}_calls": module for entry, module in (scheduled or {}).items()})
    _answer_by_graph(network, described, tuple(schedule))
    return network


def _answer_by_graph(network: nn.Module, described: GraphCall, schedule: tuple[str, ...]) -> None:
    calls = [0]

    def around(entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        precision = schedule[calls[0]] if calls[0] < len(schedule) else ""
        graph = getattr(network.scheduled, f"{precision}_calls", network.graph)
        calls[0] += 1
        return described.answered(graph(**described.given(network, bind(network, entry, args, options))))

    on_cpu = {"dtype": torch.float32, "device": torch.device("cpu")}
    set_doors(network, around, **on_cpu, begin_image=lambda _: calls.__setitem__(0, 0))


class Vision(nn.Module):
    """Pixels to the embedding that the safety checker compares; stands for its vision model and projection."""

    def __init__(self, network: nn.Module, graph: nn.Module) -> None:
        super().__init__()
        self.config, self.graph = network.config.vision_config, graph

    def forward(self, pixels: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, self.graph(clip_input=pixels)[0]
