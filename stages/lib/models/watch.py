"""What is seen of a pipeline from outside while it generates. Nothing here knows one pipeline from another.

    watch = Watch(keep=True)
    with watch.watching(pipeline):
        pipeline(prompt=..., ...)
    watch.calls["unet"][3].call                        what the network was given (stages.lib.models.calls)
    watch.calls["unet"][3].answer, .time_s, .step      what it gave, how long it took, after how many scheduler steps
    watch.latents, watch.timesteps                     after each step of the scheduler

`around_calls` is what it rests on: every call that a pipeline makes of a network goes through a function, which may
look, clock, count, ask another network, or answer itself, as `Replay` does with recorded answers. Casts at a network's
door (stages.lib.formats.shared.casting) are inside; what is seen is what the pipeline sees. Where a pipeline calls
layers of a network one by one, and never the network, each layer's call goes through the function (its name is the
entry), and `Numbering` says which of them are one call of the network.
"""

import copy
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stages.lib.models.calls import EMBED, OWN_ENTRIES, NetworkCall, bind, copied, inside, marked

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# around(component, entry, inner, args, options) -> answer, where inner(*args, **options) is the call itself
UNMARKED = ("encode", EMBED)  # entries whose answers are more than tensors, as far as a pipeline looks
Around = Callable[[str, str, Callable[..., Any], tuple, dict], Any]


@dataclass(frozen=True)
class Seen:
    """One call: `call` and `answer` are None unless they were to be kept; `step` counts scheduler steps before it.

    `number`: that of the network's call which it is, or is part of.
    `used`: the paths of those tensors of a kept answer that the pipeline has looked at.
    """

    call: NetworkCall | None
    answer: Any
    time_s: float
    step: int
    number: int
    used: set[str] = field(default_factory=set)


def networks_of(pipeline: "DiffusionPipeline") -> dict[str, nn.Module]:
    """The networks of a pipeline by the names of their components."""
    parts = {name: vars(pipeline).get(name) for name in pipeline.config}
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def set_doors(network: nn.Module, around: Callable[[str, Callable, tuple, dict], Any], **attributes: Any) -> type:
    """Let each call of a network from outside go through around(entry, inner, args, options); its class before.

    The network gets a subclass of its class, so that `around` is outside of its hooks; `attributes` are put there, too.
    """
    kind = type(network)

    def door(entry: str, method: Callable) -> Callable:
        @functools.wraps(method)
        def through(self: nn.Module, *args: Any, **options: Any) -> Any:
            return around(entry, functools.partial(method, self), args, options)

        return through

    doors = {"__call__": door("forward", kind.__call__)}
    doors |= {entry: door(entry, getattr(kind, entry)) for entry in ("decode", "encode") if hasattr(kind, entry)}
    network.__class__ = type(kind.__name__, (kind,), {**doors, **attributes, "__module__": kind.__module__})
    return kind


@contextmanager
def around_calls(networks: Mapping[str, nn.Module], around: Around) -> Iterator[None]:
    """Within the block, each call of a network from outside goes through `around`, or of layers of one never called.

    What a network calls of itself is not seen.
    """
    running: list[str] = []
    layers: dict[str, ExitStack] = {}

    def through(component: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        if running:
            return inner(*args, **options)
        if entry in OWN_ENTRIES:
            layers[component].close()  # compiled code must find its layers as they were
        running.append(component)
        try:
            return around(component, entry, inner, args, options)
        finally:
            running.pop()

    classes = {}
    try:
        for component, network in networks.items():
            layers[component] = _layer_doors(network, functools.partial(through, component))
            classes[component] = set_doors(network, functools.partial(through, component))
        yield
    finally:
        for stack in layers.values():
            stack.close()
        for component, kind in classes.items():
            networks[component].__class__ = kind


def _layer_doors(network: nn.Module, around: Callable[[str, Callable, tuple, dict], Any]) -> ExitStack:
    """Let each call of a layer of a network go through around(name, inner, args, options) until that is closed."""
    doors = ExitStack()

    def door(name: str, inner: Callable) -> Callable:
        return functools.wraps(inner)(lambda *args, **options: around(name, inner, args, options))

    for name, layer in network.named_modules():
        if name and not isinstance(layer, torch.jit.ScriptModule):
            before = {key: value for key, value in vars(layer).items() if key == "forward"}
            doors.callback(vars(layer).update, before)
            doors.callback(vars(layer).pop, "forward")
            vars(layer)["forward"] = door(name, layer.forward)
    return doors


class Numbering:
    """Which call of its network a call is: layers called one by one are one call, until the first of them comes again.

    Or until another network is called.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._first: tuple[str, str] | None = None  # of the layers called last
        self._last = ""

    def number(self, component: str, entry: str) -> int:
        """The number of the call of `component` that a call of its `entry` is, or is part of."""
        goes_on = entry not in OWN_ENTRIES and self._last == component and self._first != (component, entry)
        if not goes_on:
            self.calls[component] += 1
            self._first = component, entry
        self._last = component
        return self.calls[component] - 1


@contextmanager
def around_steps(pipeline: "DiffusionPipeline", see: Callable[[torch.Tensor, Any], None]) -> Iterator[None]:
    """Within the block, `see` is given the latents after each step of a scheduler, and the timestep it was for."""
    with ExitStack() as stack:
        for name in pipeline.config:
            if callable(getattr(vars(pipeline).get(name), "step", None)):
                stack.enter_context(_seen_steps(vars(pipeline)[name], see))
        yield


@contextmanager
def _seen_steps(scheduler: Any, see: Callable[[torch.Tensor, Any], None]) -> Iterator[None]:
    inner, is_nested = scheduler.step, "step" in vars(scheduler)

    @functools.wraps(inner)  # pipelines look whether it takes a generator
    def step(model_output: Any, timestep: Any, *args: Any, **options: Any) -> Any:
        answer = inner(model_output, timestep, *args, **options)
        see(answer[0] if isinstance(answer, tuple) else answer.prev_sample, timestep)
        return answer

    scheduler.step = step
    try:
        yield
    finally:
        if is_nested:
            scheduler.step = inner
        else:
            del scheduler.step


class Watch:
    """Calls of each network, and the latents and timestep of each scheduler step, while a block runs.

    `keep`: with what was given and answered, copied; else only times. `now_s`: the clock. `components`: those that are
    looked at; all, if not given. `running`: the one that is being called, also after it has failed.
    """

    def __init__(
        self,
        keep: bool = False,
        now_s: Callable[[], float] = time.perf_counter,
        components: Sequence[str] | None = None,
    ) -> None:
        self.keep, self.now_s, self.components = keep, now_s, components
        self.calls: dict[str, list[Seen]] = {}
        self.latents: list[torch.Tensor] = []
        self.timesteps: list[float] = []
        self.running: str | None = None
        self._numbering = Numbering()

    @contextmanager
    def watching(self, pipeline: "DiffusionPipeline") -> Iterator["Watch"]:
        """Look at what `pipeline` does until the block ends."""
        networks = networks_of(pipeline)
        if self.components is not None:
            networks = {name: networks[name] for name in self.components}
        with around_calls(networks, functools.partial(self._see, networks)), around_steps(pipeline, self._see_step):
            yield self

    def _see(
        self, networks: Mapping[str, nn.Module], name: str, entry: str, inner: Callable, args: tuple, options: dict
    ) -> Any:
        call = None
        if self.keep:
            call = replace(copied(bind(networks[name], entry, args, options)), inside=inside(networks[name]))
        self.running = name
        begin_s = self.now_s()
        answer = inner(*args, **options)
        time_s = self.now_s() - begin_s
        self.running = None
        number = self._numbering.number(name, entry)
        seen = Seen(call, copy.deepcopy(answer) if self.keep else None, time_s, len(self.latents), number)
        self.calls.setdefault(name, []).append(seen)
        return marked(answer, seen.used) if call and call.entry not in UNMARKED else answer

    def _see_step(self, latents: torch.Tensor, timestep: Any) -> None:
        self.latents.append(latents.detach().to(device="cpu", dtype=torch.float32, copy=True))
        self.timesteps.append(float(timestep))


class Replay:
    """For `around_calls`: recorded answers, in their order, in place of those that some networks would give."""

    def __init__(self, answers: Mapping[str, Sequence[Any]]) -> None:
        self._answers = {name: iter(items) for name, items in answers.items()}

    def __call__(self, name: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        """The next recorded answer of a network; the call itself where none are recorded."""
        if name not in self._answers:
            return inner(*args, **options)
        return copy.deepcopy(next(self._answers[name]))
