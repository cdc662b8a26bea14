"""Which Linear layers of a network a library of formats may convert."""

from collections import Counter
from collections.abc import Collection

from torch import nn

from stages.lib.models.families import USING_WEIGHTS


def called_linears(network: nn.Module) -> dict[str, nn.Linear]:
    """Linear layers by their names, in the network's order, but those whose weights another module has or uses."""
    users = (name for name, module in network.named_modules() if USING_WEIGHTS.search(type(module).__name__))
    inside = tuple(f"{name}." for name in users)
    return {name: network.get_submodule(name) for name in own_linears(network) if not name.startswith(inside)}


def free_linears(network: nn.Module, spared: Collection[str] = ()) -> list[str]:
    """The names of called_linears that need not stay in FP32.

    Not those of `spared`. A network that lists `_keep_in_fp32_modules` breaks, or overflows, where those are converted.
    """
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    return [name for name in called_linears(network) if kept.isdisjoint(name.split(".")) and name not in spared]


def own_linears(network: nn.Module) -> list[str]:
    """The names of all Linear layers but those that share their weight, as language models do with their embedding."""
    owners = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    linears = ((name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear))
    return [name for name, module in linears if owners[id(module.weight)] == 1]
