"""What `quantize_` is asked to do, and to which layers of a network."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

from stages.lib.formats.shared.linears import called_linears
from stages.lib.formats.torchao.options import CAPABILITIES
from stages.lib.models.calls import NetworkCall, run
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant

if TYPE_CHECKING:
    from torchao.core.config import AOBaseConfig

# What CUDA's integer product takes: more rows than this, and widths that are multiples of this.
MOST_REFUSED_ROWS = 16
WIDTH_STEP = 8
# INT4's kernel takes rows of a multiple of so many weights; torchao stores what it pads them to.
PADDED_STEP = 1024
MOST_PADDING = 0.5  # of a row's own weights


def require_package() -> None:
    """Raise a UserError unless the optional package is installed."""
    if find_spec("torchao") is None:
        raise UserError(
            "back end 'torchao' needs torchao, not installed here: run `pip install torchao`, or remove its variants "
            f"from {PARAMS_FILE}"
        )


def require_gpu(variant: Variant, device: str) -> None:
    """Raise a UserError unless `device`, "cpu" or "cuda", has the kernels of weights that only a GPU has."""
    needed = CAPABILITIES[variant.weights]
    needs = (
        f"{PARAMS_FILE}: 'variants.{variant.name}' has weights '{variant.weights}', which need a CUDA device of "
        f"compute capability {needed} or more ({'Ada' if needed > 8 else 'Ampere'}, Hopper or newer)"
    )
    remedy = "use weights 'int8' here, or remove the variant"
    if device != "cuda" or not torch.cuda.is_available():
        raise UserError(f"{needs}, but it is to run on a CPU: {remedy}")
    if (capability := torch.cuda.get_device_capability()) < (int(needed), round(needed % 1 * 10)):
        found = f"{torch.cuda.get_device_name()} has {'.'.join(map(str, capability))}"
        raise UserError(f"{needs}, and {found}: {remedy}")


def integer_sums_overflow() -> bool:
    """Whether this CPU adds products of INT8 in 16 bits, which full 8-bit ranges overflow: it has no VNNI.

    oneDNN documents it ("Nuances of int8 computations"); torch._int_mm is then wrong, not only less precise.
    """
    from torchao.utils import should_reduce_range

    return should_reduce_range(torch.device("cpu"))


def configuration(variant: Variant, reduce_range: bool) -> "AOBaseConfig":
    """What `quantize_` is given. `reduce_range`: INT8 products with 7 bits a factor (see `integer_sums_overflow`)."""
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        Int4WeightOnlyConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
        PerTensor,
    )

    # The settings for torch.compile that torchao recommends search for kernels for minutes.
    keys = {"granularity": PerTensor() if variant.granularity == "tensor" else PerRow(), "set_inductor_config": False}
    if variant.activations == "int8":
        return Int8DynamicActivationInt8WeightConfig(**keys, reduce_range=reduce_range)
    if variant.activations == "float8":
        return Float8DynamicActivationFloat8WeightConfig(**keys)
    if variant.weights == "int4":  # the packing whose kernel is PyTorch's own; others need packages beyond torchao
        keys = {"group_size": variant.group_size, "int4_packing_format": "tile_packed_to_4d"}
        return Int4WeightOnlyConfig(**keys, set_inductor_config=False)
    return {"int8": Int8WeightOnlyConfig, "float8": Float8WeightOnlyConfig}[variant.weights](**keys)


def chosen_layers(network: nn.Module, variant: Variant, calls: Sequence[NetworkCall]) -> list[str]:
    """The names of the Linear layers of an FP32 network to convert, in its order; `calls` are its calibration calls.

    All of them that are `least_width` wide either way. Of INT4, those are left out whose rows would be padded with
    much. Where integers are multiplied: CUDA's integer product (torch._int_mm) takes matrices of more than 16 rows, and
    widths that are multiples of 8. Left out is therefore what has 16 rows or fewer when one image is
    generated without guidance (time embedding, projections of it, the safety checker's last layer), or a width that
    does not fit. The rule is the same on a CPU, so that a variant is the same model everywhere. A layer that generation
    never runs is converted.
    """
    linears = {
        name: module
        for name, module in called_linears(network).items()
        if min(module.in_features, module.out_features) >= variant.least_width
    }
    if variant.weights == "int4":
        return [name for name, linear in linears.items() if _little_padding(linear.in_features)]
    if variant.activations != "int8":
        return list(linears)
    rows = least_rows(network, calls)
    return [
        name
        for name, linear in linears.items()
        if rows.get(name, MOST_REFUSED_ROWS + 1) > MOST_REFUSED_ROWS
        and linear.in_features % WIDTH_STEP == linear.out_features % WIDTH_STEP == 0
    ]


def _little_padding(width: int) -> bool:
    return -width % PADDED_STEP <= MOST_PADDING * width


def least_rows(network: nn.Module, calls: Sequence[NetworkCall]) -> dict[str, int]:
    """Rows of the matrix that each Linear layer is given for one image, in the smallest of `calls`; those it runs."""
    call = min(calls, key=lambda call: sum(tensor.numel() for tensor in call.tensors().values()))
    images = next(iter(call.tensors().values())).shape[0]
    rows: dict[str, int] = {}

    def record(name: str) -> Callable:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen = inputs[0].numel() // inputs[0].shape[-1] // images
            rows[name] = min(seen, rows.get(name, seen))

        return hook

    layers = ((name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear))
    hooks = [module.register_forward_pre_hook(record(name)) for name, module in layers]
    try:
        with torch.no_grad():
            run(network, call)
    finally:
        for hook in hooks:
            hook.remove()
    return rows
