"""Which Linear layers of a network a library of formats may convert."""

from collections import Counter
from collections.abc import Collection

from torch import nn


def free_linears(network: nn.Module, spared: Collection[str] = ()) -> list[str]:
    """The names of Linear layers, in the network's order, with a weight of their own that need not stay in FP32.

    Not those of `spared`. A network that lists `_keep_in_fp32_modules` breaks, or overflows, where those are converted.
    """
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    owners = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and owners[id(module.weight)] == 1
        and kept.isdisjoint(name.split("."))
        and name not in spared
    ]
