"""Weights in another dtype than they came in, and networks that compute in another than their weights are stored in.

The arithmetic dtype may differ from the stored one (FP16 weights on a CPU): then a weight stays as it is stored and
is cast each time a layer reads it, one layer at a time. Between networks, and in the scheduler, everything is FP32,
so that only the networks themselves differ between variants and components of different dtypes work together.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from stages.lib.models.calls import parameter_names
from stages.lib.models.families import EXACT_ARGUMENTS
from stages.lib.models.watch import set_doors
from stages.lib.project.errors import UserError


def cast_state(state: Mapping[str, torch.Tensor], dtype: str, source: Path) -> dict[str, torch.Tensor]:
    """The floating-point tensors of `state` as `dtype`; names of one tensor stay so.

    UserError names `source` and a tensor that overflows.
    """
    target = getattr(torch, dtype)
    once: dict[tuple[int, torch.Size], torch.Tensor] = {}
    cast = {}
    for name, tensor in state.items():
        key = tensor.data_ptr(), tensor.shape
        cast[name] = once.setdefault(key, tensor.to(target) if tensor.is_floating_point() else tensor)
    for name, tensor in cast.items():
        if tensor.is_floating_point() and not torch.equal(tensor.isfinite(), state[name].isfinite()):
            raise UserError(
                f"{source}: tensor '{name}' has the magnitude {state[name].abs().max().item():.6g}, too large for "
                f"{dtype} (at most {torch.finfo(target).max:.6g}): use bfloat16 or float32, or leave "
                f"'{source.name}' out of `components`"
            )
    return cast


def compute_in(network: nn.Module, dtype: str) -> None:
    """Make a loaded network compute in `dtype`, whatever its weights are stored in, with FP32 in and out.

    Its own `dtype`, to which pipelines cast what they give it, says FP32 outside of its calls and `dtype` in them.
    There its `parameters` say so, too: AuraFlow's transformer asks the first of them.
    """
    compute = getattr(torch, dtype)
    kept = getattr(network, "_keep_in_fp32_modules", None) or () if compute == torch.float16 else ()
    for path, module in list(network.named_modules()):
        own = torch.float32 if any(part in kept for part in path.split(".")) else compute
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            # Tiny, and diffusers' VAE asks the first of them which dtype to compute in.
            module.to(own)
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_floating_point() and parameter.dtype != own:
                parametrize.register_parametrization(module, name, _Cast(own), unsafe=True)
    inside: list[bool] = []

    def around(entry: str, inner: Callable[..., Any], args: tuple, options: dict) -> Any:
        inside.append(True)
        try:
            if compute == torch.float32:
                return inner(*args, **options)
            given = zip(parameter_names(network, entry), args, strict=False)
            args = tuple(_enter(value, name, compute) for name, value in given)
            options = {name: _enter(value, name, compute) for name, value in options.items()}
            return _leave(inner(*args, **options))
        finally:
            inside.pop()

    def parameters(self: nn.Module, recurse: bool = True) -> Iterator[torch.Tensor]:
        for parameter in kind.parameters(self, recurse):
            yield parameter.new_empty(0, dtype=compute) if inside and parameter.is_floating_point() else parameter

    kind = set_doors(
        network, around, dtype=property(lambda _: compute if inside else torch.float32), parameters=parameters
    )


class _Cast(nn.Module):
    """Reads a stored weight as another dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        return stored.to(self.dtype)


class Exact(torch.Tensor):
    """A time or guidance, FP32, that a network cannot cast to fewer bits before it has made sines of it.

    FLUX's transformer multiplies times by 1000 in the dtype of its activations: in BF16 that cost 5.6 % of its output.
    Where it meets a weight, it is cast to what that is, as any other input. Its `dtype` says what the network computes
    in: HunyuanDiT's transformer casts other inputs to that of the time.
    """

    @classmethod
    def of(cls, value: torch.Tensor, compute: torch.dtype) -> "Exact":
        found = value.as_subclass(cls)
        found.compute = compute
        return found

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function == torch.Tensor.dtype.__get__ and "compute" in vars(args[0]):
            return args[0].compute
        if function is torch.Tensor.to:
            args = tuple(item for item in args if not (isinstance(item, torch.dtype) and item.is_floating_point))
            kwargs = {key: item for key, item in (kwargs or {}).items() if key != "dtype"}
            if len(args) == 1 and not kwargs:
                return args[0]
        if function is torch.nn.functional.linear:
            plain = args[0].as_subclass(torch.Tensor).to(args[1].dtype)
            return function(plain, *args[1:], **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs or {})


def _enter(value: Any, name: str, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors inside an argument called `name`: all but times, positions and their like."""
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point() or (value.ndim > 1 and EXACT_ARGUMENTS.search(name)):
            return value
        return value.to(dtype) if value.ndim > 1 else Exact.of(value, dtype)
    if isinstance(value, tuple | list):
        return type(value)(_enter(item, name, dtype) for item in value)
    if isinstance(value, dict):
        return type(value)(**{key: _enter(item, key, dtype) for key, item in value.items()})
    return value


def _leave(value: Any) -> Any:
    """Cast the floating-point tensors inside an answer to FP32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_leave(item) for item in value)
    if isinstance(value, dict):
        return type(value)(**{key: _leave(item) for key, item in value.items()})
    return value
