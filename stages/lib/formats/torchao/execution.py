"""Which arithmetic the layers of a loaded pipeline really execute, seen from the operations that PyTorch dispatches."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from stages.lib.formats.shared.devices import resolve_device
from stages.lib.formats.torchao.example_call import call_once, text_length
from stages.lib.formats.torchao.storage import load
from stages.lib.models.inventory import operator_of
from stages.lib.project.params import Variant

# Operations that multiply matrices, and where their two factors stand among the arguments. On a GPU torchao asks for
# an integer product as `out_dtype(mm, int32, a, b)`, which calls `_int_mm`.
FACTORS = {
    "aten::mm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::bmm": (0, 1),
    "aten::linear": (0, 1),
    "aten::convolution": (0, 1),
    "aten::_int_mm": (0, 1),
    "aten::_scaled_mm": (0, 1),
    "out_dtype": (2, 3),
}
ARITHMETIC = {
    torch.int8: "int8",
    torch.uint8: "int8",
    torch.float8_e4m3fn: "float8",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.float32: "float32",
}


def executed_precisions(folder: Path, variant: Variant) -> list[dict]:
    """Layers that multiply matrices, by component, graph, operator and the dtype they are executed in.

    Each row: component, graph ("main"), operator (Conv2d, Linear), dtype (int8, float8, bfloat16, float16, float32),
    layers (how many). Each network is run once, on the variant's device (auto: a GPU if there is one), and the dtype of
    a layer is that of the factors of the product it dispatches: one that unpacks INT8 weights and multiplies in FP32
    counts as FP32. Attention, which PyTorch fuses with its softmax, is not listed. A compiled variant is looked at
    before it is compiled.
    """
    device = resolve_device(variant.device, "auto")
    pipeline = load(folder, variant.model_copy(update={"compile": False}), device)
    layers: Counter[tuple[str, str, str]] = Counter()
    for component in variant.components:
        network = getattr(pipeline, component)
        with LayerProducts(network) as products:
            call_once(network, component, text_length(folder), device)
        for layer, dtype in products.dtypes.items():
            layers[component, operator_of(layer), dtype] += 1
    return [
        {"component": component, "graph": "main", "operator": operator, "dtype": dtype, "layers": count}
        for (component, operator, dtype), count in sorted(layers.items())
    ]


class LayerProducts(TorchDispatchMode):
    """While active, `dtypes` gets what each Conv2d and Linear layer of `network` multiplies in."""

    supports_higher_order_operators = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.dtypes: dict[nn.Module, str] = {}
        self._network = network
        self._running: nn.Module | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> "LayerProducts":
        for module in self._network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._hooks.append(module.register_forward_pre_hook(self._begin))
                self._hooks.append(module.register_forward_hook(self._end))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def _begin(self, module: nn.Module, _: Any) -> None:
        self._running = module

    def _end(self, *_: Any) -> None:
        self._running = None

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], arguments: tuple = (), options: dict | None = None
    ) -> Any:
        factors = FACTORS.get(operation.name().removesuffix(".default"))
        if factors and self._running is not None:
            first, second = (ARITHMETIC[arguments[place].dtype] for place in factors)
            self.dtypes[self._running] = first if first == second else f"{first} x {second}"
        return operation(*arguments, **(options or {}))
