"""Weights drawn from a seed, for a network whose size and speed are wanted and whose trained weights are not there.

A matrix or kernel is uniform with variance 1 / fan-in, so that the variance of activations neither grows nor shrinks
from layer to layer (LeCun et al., "Efficient BackProp", 1998), and FP16 does not overflow. Normalizations and other
vectors are 1, biases 0. Each tensor depends on the seed and its own name alone. Only additions and multiplications that
round alike everywhere follow the generator, so the same seed gives the same bytes on every machine.
"""

import hashlib
from math import sqrt
from typing import TYPE_CHECKING

from stages.lib.models.inventory import operator_of

if TYPE_CHECKING:
    import torch


def random_state(network: "torch.nn.Module", component: str, seed: int) -> "dict[str, torch.Tensor]":
    """FP32 tensors for every parameter of `network`, which may be on the meta device, by name.

    Raises ValueError for a network that keeps buffers in its files, which no rule here covers.
    """
    import torch

    stored, parameters = set(network.state_dict()), dict(network.named_parameters())
    if stored - parameters.keys():
        raise ValueError(f"{type(network).__name__} stores buffers: {sorted(stored - parameters.keys())}")
    operators = {name: operator_of(module) for name, module in network.named_modules()}
    state = {}
    for name in sorted(parameters):
        shape = parameters[name].shape
        if len(shape) < 2:
            value = 0.0 if name.endswith("bias") else 1.0
            state[name] = torch.full(shape, value, dtype=torch.float32)
            continue
        owner = operators[name.rpartition(".")[0]]
        fan_in = 1 if owner == "Embedding" else shape[1:].numel()  # one row of an embedding is looked up as it is
        generator = torch.Generator().manual_seed(_seed_of(f"{seed}/{component}/{name}"))
        values = torch.rand(shape, generator=generator, dtype=torch.float32)
        state[name] = values.sub_(0.5).mul_(2 * sqrt(3 / fan_in))
    return state


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
