"""What published configurations amount to: exact parameters, operators and sizes, without a single weight.

An architecture is a folder in the layout of diffusers: model_index.json, and a folder with config.json per network.
Networks are built on PyTorch's meta device, which takes no memory.
"""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.models.components import empty_component
from stages.lib.models.inventory import operator_of
from stages.lib.models.kinds import MODEL_INDEX, REMEDY, kind_of, role_of
from stages.lib.project.errors import UserError
from stages.lib.project.variant import DTYPE_BITS

if TYPE_CHECKING:
    from torch import nn

MIB = 1024**2
FORMATS = ("float32", "float16", "int8")
# What INT8 can be stored for: nearly all of a model. The rest stays FP32.
ROUNDED = ("Conv1d", "Conv2d", "Conv3d", "Linear", "Embedding")
SCALE_BYTES = 4


def describe(folder: Path) -> dict[str, Any]:
    """Every network of the architecture in `folder`, and their sum.

    Sizes are in MiB for each of FORMATS: `theoretical_mib` counts every parameter in the format's bits; `stored_mib`
    is what storing it takes: with INT8, the weights of convolutions, linear layers and embeddings as one byte each with
    an FP32 scale per output channel (row), everything else in FP32. A missing or unknown network is a UserError.
    """
    import torch

    kind = kind_of(folder)
    lost = (name for name, entry in kind.missing.items() if role_of(name, *entry))
    for component in (*kind.networks, *lost):
        if not (folder / component / "config.json").is_file():
            raise UserError(f"{folder}/{component}/config.json is missing: bring the configuration of every network")
    found = []
    for component in kind.networks:
        with torch.device("meta"):  # tables of positions would take seconds
            network = empty_component(folder, component)
        getattr(network, "tie_weights", lambda: None)()  # without memory, weights lose what they share
        found.append(_component(component, kind.parts[component][1], network))
    if not found:
        raise UserError(f"{folder / MODEL_INDEX} names no network: {REMEDY}")
    keys = ("theoretical_mib", "stored_mib")
    total = {key: {name: sum(item[key][name] for item in found) for name in FORMATS} for key in keys}
    return {"parameters": sum(item["parameters"] for item in found), **total, "components": found}


def _component(component: str, kind: str, network: "nn.Module") -> dict[str, Any]:
    parameters = sum(item.numel() for item in network.parameters())
    rounded, scales = rounded_weights(network)
    stored_bytes = {
        "float32": 4 * parameters,
        "float16": 2 * parameters,
        "int8": rounded + SCALE_BYTES * scales + 4 * (parameters - rounded),
    }
    return {
        "component": component,
        "network": kind,
        "parameters": parameters,
        "theoretical_mib": {name: parameters * DTYPE_BITS[name] / 8 / MIB for name in FORMATS},
        "stored_mib": {name: stored_bytes[name] / MIB for name in FORMATS},
        "operators": operator_shares(network),
    }


def rounded_weights(network: "nn.Module") -> tuple[int, int]:
    """How many numbers of a network INT8 stores in one byte, and how many scales they need, one per channel."""
    found = {id(module.weight): module.weight for module in network.modules() if operator_of(module) in ROUNDED}
    return sum(weight.numel() for weight in found.values()), sum(weight.shape[0] for weight in found.values())


def operator_shares(network: "nn.Module") -> list[dict[str, Any]]:
    """Layers, parameters and their share of the network in percent by operator, the largest first."""
    layers: dict[str, int] = defaultdict(int)
    parameters: dict[str, int] = defaultdict(int)
    counted: set[int] = set()
    for module in network.modules():
        own = [item for item in module.parameters(recurse=False) if id(item) not in counted]
        counted.update(id(item) for item in own)
        if own:
            owned = sum(item.numel() for item in own)
            layers[operator_of(module)] += 1
            parameters[operator_of(module)] += owned
    total = sum(parameters.values())
    rows = [
        {"operator": name, "layers": layers[name], "parameters": count, "share_percent": 100 * count / total}
        for name, count in parameters.items()
    ]
    return sorted(rows, key=lambda row: (-row["parameters"], row["operator"]))
