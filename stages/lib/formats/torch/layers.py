"""What rounding one layer, block or kind of layer does to what a denoiser predicts.

The measure is the noise-to-signal ratio of the guided prediction, |y' - y|^2 / |y|^2, on inputs that the FP32 pipeline
really met. It is about additive over layers while it is small, which is what choosing layers by it rests on (Dong et
al., "HAWQ-V2", NeurIPS 2020, make the same assumption of their second-order measure).
"""

import copy
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import psutil
import torch
from torch import nn

from stages.lib.formats.shared.quantization import (
    Granularity,
    affine_parameters,
    dequantize,
    fake_quantize,
    quantize_weight,
)
from stages.lib.models.families import END_LAYERS, MODULATION_LAYERS, TIME_LAYERS
from stages.lib.project.worker_pool import WorkerPool, pool_for

# Every weight matrix that a layer multiplies with or looks up in: nearly all of a model. Biases, normalizations and
# the safety checker's concept vectors and thresholds are too few and too sensitive to round.
ROUNDED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)
# Kinds of layer by what their names contain; the first that fits. First and last layers and those of the time are what
# tables of models say they are.
FIRST_AND_LAST, MODULATION, TIME = "first and last", "modulation", "time"
KINDS = {
    "attn1": "self-attention",
    "attn2": "cross-attention",
    ".ff.": "feed-forward",
    "proj_": "projection",
    "sampler": "resampling",
    "shortcut": "shortcut",
    "resnet": "convolution",
    "mlp.": "feed-forward",
    "ff_context": "feed-forward",
    "feed_forward": "feed-forward",
    "attn": "attention",
    "attention": "attention",
    "embed": "embeddings",
    "caption_projection": "embeddings",
    "txt_in": "embeddings",
}
Item, Result = TypeVar("Item"), TypeVar("Result")


def weight_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights are rounded, by name, in the order of the network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ROUNDED_LAYERS)}


def block_of(layer: str) -> str:
    """The block of a denoiser that a layer belongs to: 'down_blocks.0', 'transformer_blocks.3', 'conv_in'."""
    first, *rest = layer.split(".")
    return f"{first}.{rest[0]}" if rest and rest[0].isdigit() else first


def kind_of(layer: str) -> str:
    """What a layer of a denoiser is for: one of the values of KINDS, FIRST_AND_LAST, MODULATION, TIME or 'other'."""
    if re.fullmatch(END_LAYERS, layer):
        return FIRST_AND_LAST
    if re.fullmatch(MODULATION_LAYERS, layer):
        return MODULATION
    if re.fullmatch(TIME_LAYERS, layer):
        return TIME
    return next((kind for part, kind in KINDS.items() if part in layer), "other")


def grouped(layers: Iterable[str], key) -> dict[str, list[str]]:
    """Layer names by `key(name)`, in the order of first appearance."""
    groups: dict[str, list[str]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return groups


@contextmanager
def rounded_weights(
    layers: Mapping[str, nn.Module],
    bits: Mapping[str, int],
    granularity: Granularity,
    group_size: int | None = None,
) -> Iterator[None]:
    """The weights of the layers that `bits` names are rounded to so many bits until the block ends."""
    kept = {name: layers[name].weight for name in bits}
    try:
        for name, weight in kept.items():
            layers[name].weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        round_layers(layers, bits, granularity, group_size)
        yield
    finally:
        for name, weight in kept.items():
            layers[name].weight = weight


def twin(network: nn.Module) -> nn.Module:
    """Modules of its own over the same tensors: `rounded_weights` of one are not seen by the other."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def map_over_twins(
    network: nn.Module, do: Callable[[nn.Module, Item], Result], items: Collection[Item]
) -> Iterator[Result]:
    """`do` of a twin of the network and of each item, in order.

    On a CPU every core takes items of its own with one thread, which is faster than many threads for one item, as far
    as there is memory: a call is taken to need as much as the weights.
    """
    parameters = list(network.parameters())
    pool = WorkerPool(1, torch.get_num_threads())
    if not parameters[0].is_cuda:
        each_bytes = sum(tensor.numel() * tensor.element_size() for tensor in parameters)
        available_bytes = psutil.virtual_memory().available
        pool = pool_for(len(items), pool.threads, each_bytes, available_bytes, items_per_process=1)
    here = threading.local()

    def begin() -> None:
        torch.set_num_threads(pool.threads)
        here.network = twin(network)

    with ThreadPoolExecutor(pool.processes, initializer=begin) as executor:
        yield from executor.map(lambda item: do(here.network, item), items)


def round_layers(
    layers: Mapping[str, nn.Module],
    bits: Mapping[str, int],
    granularity: Granularity,
    group_size: int | None = None,
) -> None:
    """Round the weights of the layers that `bits` names to so many bits and back, in place; 16 leaves them alone."""
    for name, count in bits.items():
        if count == 16:
            continue
        weight = layers[name].weight
        weight.copy_(dequantize(*quantize_weight(weight, count, granularity, group_size), group_size))


@contextmanager
def rounded_inputs(
    layers: Mapping[str, nn.Module], names: Sequence[str], ranges: Mapping[str, tuple[float, float]], bits: int
) -> Iterator[None]:
    """What enters the layers of `names` is rounded with the ranges of the module `activations` until the block ends."""

    def hook(name: str):
        scale, zero_point = affine_parameters(*ranges[name], bits)

        def rounding(_: nn.Module, args: tuple) -> tuple:
            device = args[0].device
            return (fake_quantize(args[0], scale.to(device), zero_point.to(device), bits), *args[1:])

        return rounding

    handles = [layers[name].register_forward_pre_hook(hook(name)) for name in names if name in ranges]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
