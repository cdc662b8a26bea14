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
from dataclasses import dataclass, replace
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
from stages.lib.models.calls import NetworkCall, join, run, split, tensors_in
from stages.lib.models.families import END_LAYERS, TIME_LAYERS
from stages.lib.project.errors import UserError
from stages.lib.project.worker_pool import WorkerPool, pool_for

# Every weight matrix that a layer multiplies with or looks up in: nearly all of a model. Biases, normalizations and
# the safety checker's concept vectors and thresholds are too few and too sensitive to round.
ROUNDED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)
# Calls of the denoiser that a layer is judged by, spread evenly over those that were kept.
EXAMPLES = 3
# Guidance magnifies what differs between the two halves of a batch and leaves alone what they share: without it, layers
# that hear the prompt look harmless. The usual scale: a model is made without knowing how it will be generated with.
GUIDANCE_SCALE = 7.5
# Kinds of layer by what their names contain; the first that fits. First and last layers and those of the time are what
# tables of models say they are.
FIRST_AND_LAST, TIME = "first and last", "time"
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
Outputs = dict[str, list]  # of modules, by name, one for each call of a batch
Item, Result = TypeVar("Item"), TypeVar("Result")


def weight_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights are rounded, by name, in the order of the network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, ROUNDED_LAYERS)}


def block_of(layer: str) -> str:
    """The block of a denoiser that a layer belongs to: 'down_blocks.0', 'transformer_blocks.3', 'conv_in'."""
    first, *rest = layer.split(".")
    return f"{first}.{rest[0]}" if rest and rest[0].isdigit() else first


def kind_of(layer: str) -> str:
    """What a layer of a denoiser is for: one of the values of KINDS, FIRST_AND_LAST, TIME or 'other'."""
    if re.fullmatch(END_LAYERS, layer):
        return FIRST_AND_LAST
    if re.fullmatch(TIME_LAYERS, layer):
        return TIME
    return next((kind for part, kind in KINDS.items() if part in layer), "other")


def grouped(layers: Iterable[str], key) -> dict[str, list[str]]:
    """Layer names by `key(name)`, in the order of first appearance."""
    groups: dict[str, list[str]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return groups


@dataclass(frozen=True)
class Batch:
    """Calls of a denoiser that layers are judged by: `count` of them, `rows` images each.

    `calls` is one call with all of them where they can be put together along the first dimension, which is faster.
    """

    calls: tuple[NetworkCall, ...]
    count: int
    rows: int

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        return replace(self, calls=tuple(_on(call, device) for call in self.calls))


def _on(call: NetworkCall, device: str) -> NetworkCall:
    tensors, form = split(call.arguments)
    return NetworkCall(call.entry, join(form, {name: tensor.to(device) for name, tensor in tensors.items()}))


def examples(calls: Sequence[NetworkCall], count: int = EXAMPLES) -> Batch:
    """`count` of a denoiser's calls (all, if there are fewer), evenly spread."""
    if not calls:
        raise UserError("there are no calibration calls of the denoiser: add prompts to the file of 'calibration.file'")
    count = min(count, len(calls))
    chosen = [calls[(2 * number + 1) * len(calls) // (2 * count)] for number in range(count)]
    together = _together(chosen)
    if together is None:
        return Batch(tuple(chosen), count, _rows(chosen[0]))
    return Batch((together,), count, _rows(chosen[0]))


def _rows(call: NetworkCall) -> int:
    """How many images the first tensor of a call is of: 2 with guidance, the empty prompt first, else 1."""
    return next(iter(call.tensors().values())).shape[0]


def _together(calls: Sequence[NetworkCall]) -> NetworkCall | None:
    """One call with the tensors of all, one after the other; None where some are not of as many rows as the first."""
    parts, forms = zip(*(split(call.arguments) for call in calls), strict=True)
    rows = _rows(calls[0])
    # A single number, such as a time, stands for all rows.
    filled = [{name: item if item.ndim else item.repeat(rows) for name, item in part.items()} for part in parts]
    same = all(form == forms[0] for form in forms)
    if not same or any(item.shape[0] != rows for part in filled for item in part.values()):
        return None
    if any(part[name].shape != filled[0][name].shape for part in filled for name in part):
        return None
    return NetworkCall(
        calls[0].entry, join(forms[0], {name: torch.cat([part[name] for part in filled]) for name in parts[0]})
    )


def predict(denoiser: nn.Module, batch: Batch) -> torch.Tensor:
    """What the scheduler is given for each call of a batch, (count, ...): the output, guided if there are two rows."""
    with torch.no_grad():
        outputs = [next(tensors_in(run(denoiser, call))) for call in batch.calls]
    output = torch.cat(outputs).unflatten(0, (batch.count, -1))
    if batch.rows != 2 or output.shape[1] != 2:
        return output.flatten(1, 2) if output.ndim > 2 else output
    return output[:, 0] + GUIDANCE_SCALE * (output[:, 1] - output[:, 0])


def parts(denoiser: nn.Module) -> dict[str, nn.Module]:
    """What a denoiser calls one after the other, by name: the blocks of its lists, or what stands in lists inside them
    (each resnet, transformer and resampling of a U-Net), and what is in no list."""
    found: dict[str, nn.Module] = {}
    for name, child in denoiser.named_children():
        lists = [(name, child)] if isinstance(child, nn.ModuleList) else []
        blocks = {f"{prefix}.{number}": block for prefix, list in lists for number, block in list.named_children()}
        for prefix, block in (blocks or {name: child}).items():
            inner = {
                f"{prefix}.{kind}.{number}": part
                for kind, list in block.named_children()
                if isinstance(list, nn.ModuleList)
                for number, part in list.named_children()
            }
            found |= inner or {prefix: block}
    return found


def outputs_of_parts(denoiser: nn.Module, batch: Batch) -> tuple[torch.Tensor, Outputs]:
    """What `predict` gives, and the outputs, one for each call of the batch, of every one of the `parts` that each call
    calls once, in the order of calls."""
    called: dict[str, list] = {}
    handles = [
        part.register_forward_hook(lambda _part, _input, output, name=name: called.setdefault(name, []).append(output))
        for name, part in parts(denoiser).items()
    ]
    try:
        predicted = predict(denoiser, batch)
    finally:
        for handle in handles:
            handle.remove()
    return predicted, {name: outputs for name, outputs in called.items() if len(outputs) == len(batch.calls)}


@contextmanager
def resumed(denoiser: nn.Module, outputs: Outputs, layer: str) -> Iterator[None]:
    """Until the block ends, what is called before the part with that layer only gives its output of `outputs`.

    For a batch that these outputs are of, and a network that differs in nothing before that layer, one `predict` gives
    the same bits in less time. A layer outside of them is computed with everything before it.
    """
    names = list(outputs)
    holder = next((name for name in names if layer == name or layer.startswith(f"{name}.")), names[0])
    found = parts(denoiser)
    changed = [found[name] for name in names[: names.index(holder)]]
    for part, answers in zip(changed, outputs.values(), strict=False):
        left = iter(answers)
        part.forward = lambda *_, left=left, **__: next(left)
    try:
        yield
    finally:
        for part in changed:
            del part.forward


def output_noise(reference: torch.Tensor, output: torch.Tensor) -> float:
    """The noise-to-signal ratio of a batch of outputs, the mean over the batch."""
    error = (output.double() - reference.double()).square().flatten(1).sum(1)
    return float((error / reference.double().square().flatten(1).sum(1)).mean())


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
