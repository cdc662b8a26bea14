"""What `quantize_` is asked to do, and to which layers of a network."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

from stages.lib.formats.torchao.example_call import least_rows, text_length
from stages.lib.models.components import empty_component
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant

if TYPE_CHECKING:
    from pathlib import Path

    from torchao.core.config import AOBaseConfig

FLOAT8_CAPABILITY = (8, 9)
# What CUDA's integer product takes: more rows than this, and widths that are multiples of this.
MOST_REFUSED_ROWS = 16
WIDTH_STEP = 8


def require_package() -> None:
    """Raise a UserError unless the optional package is installed."""
    if find_spec("torchao") is None:
        raise UserError(
            "back end 'torchao' needs torchao, not installed here: run `pip install torchao`, or remove its variants "
            f"from {PARAMS_FILE}"
        )


def require_float8(variant: Variant, device: str) -> None:
    """Raise a UserError unless FP8 can be multiplied on `device`, "cpu" or "cuda"."""
    needs = (
        f"{PARAMS_FILE}: 'variants.{variant.name}' has weights 'float8', which need a CUDA device of compute "
        f"capability {'.'.join(map(str, FLOAT8_CAPABILITY))} or more (Ada, Hopper or newer)"
    )
    remedy = "use weights 'int8' here, or remove the variant"
    if device != "cuda" or not torch.cuda.is_available():
        raise UserError(f"{needs}, but it is to run on a CPU: {remedy}")
    if (capability := torch.cuda.get_device_capability()) < FLOAT8_CAPABILITY:
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
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
    )

    # The settings for torch.compile that torchao recommends search for kernels for minutes.
    keys = {"granularity": PerRow(), "set_inductor_config": False}
    if variant.activations == "int8":
        return Int8DynamicActivationInt8WeightConfig(**keys, reduce_range=reduce_range)
    if variant.activations == "float8":
        return Float8DynamicActivationFloat8WeightConfig(**keys)
    return {"int8": Int8WeightOnlyConfig, "float8": Float8WeightOnlyConfig}[variant.weights](**keys)


def chosen_layers(folder: "Path", component: str, variant: Variant) -> list[str]:
    """The names of the Linear layers to convert, in the order of the network.

    All of them, unless integers are multiplied: CUDA's integer product (torch._int_mm) takes matrices of more than 16
    rows, and widths that are multiples of 8. Left out is therefore what has 16 rows or fewer when one image is
    generated without guidance (time embedding, projections of it, the safety checker's last layer), or a width that
    does not fit. The rule is the same on a CPU, so that a variant is the same model everywhere.
    """
    network = empty_component(folder, component)
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    if variant.activations != "int8":
        return list(linears)
    rows = least_rows(network, component, text_length(folder))
    return [
        name
        for name, linear in linears.items()
        if rows.get(name, 0) > MOST_REFUSED_ROWS
        and linear.in_features % WIDTH_STEP == linear.out_features % WIDTH_STEP == 0
    ]
