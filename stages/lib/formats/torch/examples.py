"""What a denoiser predicts on inputs that the FP32 pipeline really met, and how far another prediction is from it.

The measure is the noise-to-signal ratio of the guided prediction, |y' - y|^2 / |y|^2.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from stages.lib.models.calls import NetworkCall, join, run, split, tensors_in
from stages.lib.project.errors import UserError

# Calls of the denoiser that a layer is judged by, spread evenly over those that were kept.
EXAMPLES = 3
# Guidance magnifies what differs between the two halves of a batch and leaves alone what they share: without it, layers
# that hear the prompt look harmless. The usual scale: a model is made without knowing how it will be generated with.
GUIDANCE_SCALE = 7.5
Outputs = dict[str, list]  # of modules, by name, one for each call of a batch


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
