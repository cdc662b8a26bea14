"""Calls of every network, collected once from the FP32 pipeline: what quantizers take activation ranges from.

One safetensors file. A tensor's name is component/number/path, its path that of stages.lib.models.calls; the metadata
holds the form of each call, JSON, in which everything else of it stands.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.models.calls import NetworkCall, join, split
from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch


FORMS = "forms"
# The calls of each component, in order.
Calls = Mapping[str, Sequence[NetworkCall]]


def write_calls(path: Path, calls: Calls) -> None:
    """Store the calls of each component. Same calls, same bytes."""
    from safetensors.torch import save

    from stages.lib.project.files import write_bytes

    tensors: dict[str, torch.Tensor] = {}
    forms: dict[str, list] = {}
    for component, items in calls.items():
        for number, call in enumerate(items):
            found, form = split(call.arguments)
            tensors |= {f"{component}/{number:04}/{name}": tensor.contiguous() for name, tensor in found.items()}
            about = {"entry": call.entry, "arguments": form, "used": call.used, "inside": call.inside}
            forms.setdefault(component, []).append(about)
    write_bytes(path, save(tensors, metadata={FORMS: json.dumps(forms)}))


def read_calls(path: Path) -> dict[str, list[NetworkCall]]:
    """The calls of each component, in order. A missing, broken or empty file is a UserError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            forms = json.loads((file.metadata() or {})[FORMS])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro calibrate` to make it") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is broken ({error}): delete it and run `dvc repro calibrate`") from None
    found = {}
    for component, items in forms.items():
        found[component] = []
        for number, item in enumerate(items):
            own = f"{component}/{number:04}/"
            mine = {key.removeprefix(own): tensor for key, tensor in tensors.items() if key.startswith(own)}
            arguments, used = join(item["arguments"], mine), tuple(item["used"])
            found[component].append(NetworkCall(item["entry"], arguments, used, item["inside"]))
    if not found:
        raise UserError(f"{path} holds no calls: delete it and run `dvc repro calibrate`")
    return found
