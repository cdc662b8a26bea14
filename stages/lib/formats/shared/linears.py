"""Which Linear layers of a network a library of formats may convert."""

from collections import Counter

from torch import nn


def free_linears(network: nn.Module) -> list[str]:
    """The names of a network's Linear layers, in its order, whose weight is theirs alone and need not stay in FP32.

    A network that lists `_keep_in_fp32_modules` breaks, or overflows, where those are converted.
    """
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    owners = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and owners[id(module.weight)] == 1 and kept.isdisjoint(name.split("."))
    ]
