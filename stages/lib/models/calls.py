"""One call of a network as a value: its arguments by name, tensors and all else apart.

    call = bind(network, "forward", args, options)     what a pipeline gave (stages.lib.models.watch captures them)
    answer = run(network, call)                        the same answer, bit for bit
    tensors, form = split(call.arguments)              "sample", "added_cond_kwargs.time_ids", ...; and all else

Whoever exports, measures ranges or stands in for a network takes inputs, shapes and constants from here, and needs to
know nothing of what kind of network it is. A network has one or two entries: `forward`, `decode` for decoders, and in
the place of a safety checker's `forward`, which compares in NumPy, `embed`: pixels to the embedding that it compares.
Where a pipeline calls layers of a network one by one, an entry is the name of such a layer.
"""

import copy
import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from stages.lib.models.families import CHECKERS
from stages.lib.models.kinds import LIBRARIES

EMBED = "embed"
OWN_ENTRIES = ("forward", "decode", "encode", EMBED)  # others are names of layers
PIPELINES = "diffusers.pipelines."  # where the code of pipelines is


@dataclass(frozen=True)
class NetworkCall:
    """What one call was given: `entry` is forward, decode, embed or a layer; `arguments` by the names of parameters.

    Values are tensors, None, numbers, texts, dtypes, and lists, tuples and dictionaries of them. `used`: the paths of
    those tensors in the answer that the pipeline looked at, if that was seen. `inside`: what `inside` said of the
    network at that time.
    """

    entry: str
    arguments: dict[str, Any]
    used: tuple[str, ...] = ()
    inside: str = ""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors among the arguments by their path, such as "added_cond_kwargs.time_ids", in order."""
        return split(self.arguments)[0]


def inside(network: nn.Module) -> str:
    """What a pipeline may put into a network while it generates: a digest of attention processors and hooks."""
    found = hashlib.sha256()
    for name, module in network.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values(), vars(module).get("forward")]
        own = sum(str(getattr(hook, "__module__", "")).startswith(PIPELINES) for hook in hooks)
        own += len(getattr(getattr(module, "_diffusers_hook", None), "hooks", ()))  # as guiders set them
        found.update(f"{name} {type(getattr(module, 'processor', None)).__name__} {own}\n".encode())
    return found.hexdigest()


def bind(network: nn.Module, entry: str, args: tuple, options: dict) -> NetworkCall:
    """The call of `entry` with these arguments, each by its name."""
    owner, name = (network, entry) if entry in OWN_ENTRIES else (network.get_submodule(entry), "forward")
    method = inspect.signature(getattr(type(owner), name))
    given = method.bind(owner, *args, **options).arguments
    arguments = {}
    for name, value in list(given.items())[1:]:
        arguments |= value if method.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    if CHECKERS.search(type(network).__name__):
        return NetworkCall(EMBED, {"clip_input": arguments["clip_input"]})
    return NetworkCall(entry, arguments)


@functools.cache
def _names(kind: type, entry: str) -> tuple[str, ...]:
    return tuple(inspect.signature(getattr(kind, entry)).parameters)[1:]


def parameter_names(network: nn.Module, entry: str) -> tuple[str, ...]:
    """The names of the parameters of `entry`, in order."""
    return _names(type(network), entry)


def run(network: nn.Module, call: NetworkCall) -> Any:
    """What `network` answers to `call`, through its hooks."""
    if call.entry == EMBED:
        return network.visual_projection(network.vision_model(call.arguments["clip_input"])[1])
    return entry_of(network, call.entry)(**call.arguments)


def entry_of(network: nn.Module, entry: str) -> Callable[..., Any]:
    """What is called of a network at an entry."""
    return network if entry == "forward" else attrgetter(entry)(network)


def split(value: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors inside a value by their path, and its form, JSON of which `join` makes the value again."""
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _form(value, "", tensors)


def _form(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    def inside(items: Mapping) -> dict[str, Any]:
        return {str(key): _form(item, f"{path}.{key}" if path else str(key), tensors) for key, item in items.items()}

    if isinstance(value, torch.Tensor):
        tensors[path or "output"] = value
        return {"tensor": path or "output"}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, Mapping):
        kind = type(value)
        own = kind.__module__.partition(".")[0] in LIBRARIES  # a library's class of answers
        return {"class": [kind.__module__, kind.__name__] if own else None, "items": inside(value)}
    if isinstance(value, list | tuple):
        return {"list": type(value).__name__ == "list", "items": inside(dict(enumerate(value)))}
    return {"value": value if isinstance(value, bool | int | float | str) else None}


def join(form: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The value of that form with `tensors` in it."""
    if "tensor" in form:
        return tensors[form["tensor"]]
    if "dtype" in form:
        return getattr(torch, form["dtype"])
    if "items" not in form:
        return form["value"]
    items = {key: join(item, tensors) for key, item in form["items"].items()}
    if "list" in form:
        return list(items.values()) if form["list"] else tuple(items.values())
    if form["class"] is None:
        return items
    module, name = form["class"]
    if module.partition(".")[0] not in LIBRARIES:
        raise ValueError(f"{module}.{name} is a class of neither library")
    return getattr(importlib.import_module(module), name)(**items)


def tensors_in(answer: Any) -> Iterator[torch.Tensor]:
    """The tensors of an answer, in order, whatever class it has."""
    yield from split(answer)[0].values()


class _Marked(torch.Tensor):
    """A tensor that notes its `path` in `used` when anything is made of it, which then is of plain tensors."""

    path: str
    used: set[str]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            args, kwargs = tree_map_only(cls, cls._plain, (args, kwargs or {}))
            return function(*args, **kwargs)

    def _plain(self) -> torch.Tensor:
        self.used.add(self.path)
        return self.as_subclass(torch.Tensor)


def marked(answer: Any, used: set[str]) -> Any:
    """The same answer, whose tensors put their paths into `used` when they are looked at."""
    tensors, form = split(answer)
    noting = {path: tensor.as_subclass(_Marked) for path, tensor in tensors.items()}
    for path, tensor in noting.items():
        tensor.path, tensor.used = path, used
    return join(form, noting)


def copied(call: NetworkCall) -> NetworkCall:
    """The same call with tensors of its own, on the CPU: a pipeline may write into the ones it gave."""
    tensors, form = split(call.arguments)
    return NetworkCall(
        call.entry, copy.deepcopy(join(form, {key: item.detach().cpu() for key, item in tensors.items()}))
    )
