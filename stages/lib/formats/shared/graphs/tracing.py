"""A network in the form in which it is traced: tensors in, tensors out, all else of a captured call constant.

    traced = Traced(network, calls)            calls that a pipeline made of it
    traced.names, traced.example               its inputs, in order
    traced.described(kept)                     its GraphCall, if the graph has `kept` of its inputs
    traced.beside                              names of what PyTorch reads of the network beside its graph

The sines that diffusers' networks make of times (modules `Timesteps`, without weights) are made outside and are inputs:
in BF16, inside the graph, a time would lose its low digits.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers.models.embeddings import Timesteps
from torch import nn

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.formats.shared.graphs.graph_call import GraphCall, Time, essential, sines
from stages.lib.models.calibration import Calls
from stages.lib.models.calls import EMBED, OWN_ENTRIES, NetworkCall, inside, join, run, split
from stages.lib.models.components import empty_component
from stages.lib.models.families import ONE_TIME

OPERATION = re.compile(r"aten::\w+|Complex")
FACTORS = (1, 1000)  # pipelines hand times over as steps of 1000, or as fractions


class Traced(nn.Module):
    """See the module. Calls that differ in more than their tensors raise CannotMake."""

    def __init__(self, network: nn.Module, calls: Sequence[NetworkCall]) -> None:
        super().__init__()
        self.network, self.calls, kind = network, tuple(calls), type(network).__name__
        tensors, self.form = split(calls[0].arguments)
        if hasattr(network.config, "use_cache"):
            network.config.use_cache = False  # what a language model keeps for the next word
        if any(call.entry not in OWN_ENTRIES for call in calls):
            raise CannotMake({"reason": "layers_called", "network": kind})
        if any(essential(split(call.arguments)[1]) != essential(self.form) for call in calls):
            raise CannotMake({"reason": "calls_differ", "network": kind})
        before = torch.get_rng_state()
        first, last = (_look(network, call) for call in (calls[0], calls[-1]))
        if not torch.equal(torch.get_rng_state(), before):  # it draws numbers itself, and a graph draws others
            raise CannotMake({"reason": "calls_differ", "network": kind})
        self.times, self.answer, self.left_out = _times([first, last]), first.answer, first.left_out
        self.beside = _beside(network, calls[0].entry, first.called)
        looked_at = {name for call in calls for name in call.used or first.outputs}
        self.outputs = tuple(name for name in first.outputs if name in looked_at)
        makers = {time.module: network.get_submodule(time.module) for time in self.times.values()}
        made = {name: sines(makers[time.module], time, tensors) for name, time in self.times.items()}
        self.names, self.example = (*tensors, *made), (*tensors.values(), *made.values())
        self.given = SimpleNamespace()
        for module in makers:
            names = [name for name, time in self.times.items() if time.module == module]
            network.set_submodule(module, _Given(self.given, names, ONE_TIME.search(kind) is None))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs, in order, for `inputs` in the order of `names`."""
        named = dict(zip(self.names, inputs, strict=True))
        self.given.sines, self.given.rows, self.given.calls = named, inputs[0].shape[0], defaultdict(int)
        answer = split(run(self.network, NetworkCall(self.calls[0].entry, join(self.form, named))))[0]
        return tuple(answer[name] for name in self.outputs)

    def described(self, kept: Collection[str]) -> GraphCall:
        """What a pipeline must know of the graph."""
        inputs = {name: tuple(item.shape) for name, item in zip(self.names, self.example, strict=True) if name in kept}
        return GraphCall(
            entry=self.calls[0].entry,
            arguments=self.form,
            answer=self.answer,
            inputs=inputs,
            open_dimensions={name: self._open(name) for name in inputs},
            times={name: time for name, time in self.times.items() if name in kept},
            outputs=self.outputs,
            left_out=self.left_out,
        )

    def _open(self, name: str) -> tuple[int, ...]:
        """The dimensions of an input that are left open: that of the batch, and whatever differs."""
        shape = self.example[self.names.index(name)].shape
        shapes = [shape] if name in self.times else [call.tensors()[name].shape for call in self.calls]
        differing = {place for place in range(len(shape)) if len({other[place] for other in shapes}) > 1}
        if shape and shape[0] == self.example[0].shape[0]:
            differing.add(0)
        return tuple(sorted(differing))


def check_told_by_calls(base: Path, components: Collection[str], calls: Calls) -> None:
    """Raise CannotMake if the pipeline had changed one of `components` when it made `calls`: a graph would not."""
    for component in components:
        network = empty_component(base, component)
        if any(call.inside not in ("", inside(network)) for call in calls[component]):
            raise CannotMake({"reason": "calls_differ", "network": type(network).__name__})


class _Given(nn.Module):
    """In the place of a maker of sines: gives those that the graph is given, in the order of its calls."""

    def __init__(self, given: SimpleNamespace, names: Sequence[str], spread: bool) -> None:
        super().__init__()
        self.given, self.names, self.spread = given, tuple(names), spread

    def forward(self, _times: torch.Tensor) -> torch.Tensor:
        number = self.given.calls[self.names[0]]
        self.given.calls[self.names[0]] += 1
        found = self.given.sines[self.names[number]]
        return found.expand(self.given.rows, -1) if self.spread and found.shape[0] == 1 else found


def _look(network: nn.Module, call: NetworkCall) -> SimpleNamespace:
    """Run `call` and see the form of the answer, the times that sines are made of, and which modules are not called."""
    times: dict[str, list[torch.Tensor]] = defaultdict(list)
    called = set()
    with ExitStack() as stack, torch.no_grad():
        for name, module in network.named_modules():
            hook = module.register_forward_pre_hook(lambda _module, given, name=name: called.add(name))
            stack.callback(hook.remove)
            if isinstance(module, Timesteps):
                hook = module.register_forward_pre_hook(
                    lambda _module, given, name=name: times[name].append(given[0].reshape(-1).float())
                )
                stack.callback(hook.remove)
        outputs, answer = split(run(network, call))
    return SimpleNamespace(
        call=call,
        rows=next(iter(call.tensors().values())).shape[0],
        times=times,
        outputs=tuple(outputs),
        answer=answer,
        called=called,
        left_out=_left_out(network, called),
    )


def _left_out(network: nn.Module, called: Collection[str]) -> tuple[str, ...]:
    """The outermost modules of which nothing was called, nor what they are part of: a decoder's encoder."""
    found: list[str] = []
    for name, module in network.named_modules():
        above = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
        around = name in called or above & {*called, *found} or any(other.startswith(f"{name}.") for other in called)
        if name and not around and next(module.parameters(), None) is not None:
            found.append(name)
    return tuple(found)


def _beside(network: nn.Module, entry: str, called: Collection[str]) -> tuple[str, ...]:
    """The safety checker's concepts, which PyTorch compares embeddings with; else buffers of modules never called.

    A pipeline may read the latter, as that of FLUX.2 does the statistics that it scales latents with.
    """
    state = network.state_dict()
    if entry == EMBED:
        return tuple(name for name in state if "." not in name)
    buffers = dict(network.named_buffers()).keys() & state.keys()
    return tuple(name for name in state if name in buffers and name.rpartition(".")[0] not in {"", *called})


def _times(looks: Sequence[SimpleNamespace]) -> dict[str, Time]:
    """Which argument each of the times comes from, by the name that the graph's input for it gets.

    A time that is no argument, and no multiple of one, stays inside.
    """
    found: dict[str, Time] = {}
    for module, seen in looks[0].times.items():
        sources = [_source(looks, module, number) for number in range(len(seen))]
        if None not in sources:
            found |= {f"{module}.{number}" if number else module: time for number, time in enumerate(sources)}
    return found


def _source(looks: Sequence[SimpleNamespace], module: str, number: int) -> Time | None:
    values = [look.times[module][number] for look in looks]
    # One row stands for a batch, not for several numbers of each image, such as both sides of its size.
    alike = all(
        len(value) in (1, look.rows) and bool((value == value[0]).all())
        for value, look in zip(values, looks, strict=True)
    )
    rows = 1 if alike else None
    for argument, factor in product(looks[0].call.tensors(), FACTORS):
        given = [look.call.tensors()[argument].reshape(-1).float() * factor for look in looks]
        if all(torch.equal(mine[:rows], other[:rows]) for mine, other in zip(values, given, strict=True)):
            return Time(module, argument, factor, alike)
    return None


def not_exportable(traced: Traced, error: Exception) -> CannotMake:
    """What to raise where an exporter says that it cannot: with the operation that it names."""
    found = OPERATION.search(str(error))
    named = {"reason": "not_exportable", "network": type(traced.network).__name__}
    return CannotMake(named | {"operation": found[0] if found else type(error).__name__})


@contextmanager
def tracing() -> Iterator[None]:
    """While this runs, networks are traced: differences are written out, which no runtime has an operation for.

    Nothing warns. Tracing looks at every property of a network, old ones too, and at assertions of shapes; all would.
    """
    import transformers.utils.logging

    verbosity, diff = transformers.utils.logging.get_verbosity(), torch.diff
    transformers.utils.logging.set_verbosity_error()
    torch.diff = _difference
    try:
        with warnings.catch_warnings():
            for kind in (torch.jit.TracerWarning, DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        torch.diff = diff
        transformers.utils.logging.set_verbosity(verbosity)


def _difference(values: torch.Tensor, dim: int = -1, prepend: torch.Tensor | None = None) -> torch.Tensor:
    """What torch.diff gives; another use of it is not written out."""
    values = values if prepend is None else torch.cat((prepend, values), dim)
    count = values.shape[dim]
    return values.narrow(dim, 1, count - 1) - values.narrow(dim, 0, count - 1)
