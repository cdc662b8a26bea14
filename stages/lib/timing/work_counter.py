"""Counting and timing the multiplications that PyTorch dispatches while a pipeline generates."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils.flop_counter import conv_flop_count, sdpa_flop_count

from stages.lib.formats.shared.executed_work import OPERATORS, ExecutedWork
from stages.lib.models.inventory import operator_of
from stages.lib.models.watch import Numbering, around_calls, networks_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

DTYPES = {
    torch.int8: "int8",
    torch.uint8: "int8",
    torch.float8_e4m3fn: "float8",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.float32: "float32",
}
# Where the two factors of a product stand among the arguments. On a GPU torchao asks for an integer product as
# `out_dtype(mm, int32, a, b)`.
PRODUCTS = {
    "aten::mm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::_int_mm": (0, 1),
    "aten::_scaled_mm": (0, 1),
    "out_dtype": (2, 3),
}
BATCHED = {"aten::bmm": (0, 1), "aten::baddbmm": (1, 2)}
# Linear layers as one operation, and the dtype of their products: that of the activations (None), or INT8, where the
# kernel itself rounds the activations. LLM.int8's has two answers, the second of them the columns of outliers: few,
# whose products in floating point it adds.
LINEAR = {
    "aten::linear": None,
    "aten::_weight_int8pack_mm": None,
    "aten::_weight_int4pack_mm": None,
    "quantized::linear_dynamic": "int8",
    "bitsandbytes::gemm_4bit": None,
    "bitsandbytes::gemv_4bit": None,
    "bitsandbytes::int8_scaled_mm": None,
    "bitsandbytes::int8_mixed_scaled_mm": "int8",
}
FUSED_ATTENTION = (
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
)
# Other operations that multiply matrices: they must not go uncounted without a word.
SUSPECT = re.compile(r"(^|_)([a-z]*mm|mv|linear|matmul|conv\w*)($|_)|attention")


def multiplication(
    name: str, arguments: tuple[Any, ...], output: Any, weights: Mapping[int, str]
) -> tuple[str, str, int] | None:
    """Operator, dtype and multiply-accumulates of one dispatched operation; None if it multiplies no matrices.

    `name` is as in "aten::mm". `weights` has the operators of parameters by their addresses: PyTorch makes a batched
    product of a linear layer whose input is not contiguous, and SDNQ a plain one of a convolution. The formulas of
    convolution and attention are those of torch.utils.flop_counter, which counts a multiply-accumulate as two. An
    operation that looks like a product and has no formula is a ValueError.
    """
    if name == "aten::convolution":
        flops = conv_flop_count(arguments[0].shape, arguments[1].shape, output.shape, arguments[6])
        return f"Conv{arguments[1].ndim - 2}d", _dtype(*arguments[:2]), flops // 2
    if name in PRODUCTS or name in BATCHED:
        first, second = (arguments[place] for place in {**PRODUCTS, **BATCHED}[name])
        operator = weights.get(second.untyped_storage().data_ptr(), "Linear" if name in PRODUCTS else "MatMul")
        return operator, _dtype(first, second), first.numel() * second.shape[-1]
    if name in FUSED_ATTENTION:
        flops = sdpa_flop_count(*(argument.shape for argument in arguments[:3]))
        return "MatMul", _dtype(*arguments[:2]), flops // 2
    if name in LINEAR:
        dtype = LINEAR[name] or _dtype(arguments[0])
        answer = output[0] if isinstance(output, tuple) else output
        return "Linear", dtype, answer.numel() * arguments[0].shape[-1]
    if SUSPECT.search(name.rpartition("::")[2]) and not name.endswith("_unpack"):
        raise ValueError(f"PyTorch's operation {name} may multiply matrices, and this count has no formula for it")
    return None


def _dtype(*factors: torch.Tensor) -> str:
    """The dtype that both factors have."""
    names = {DTYPES.get(factor.dtype, str(factor.dtype)) for factor in factors}
    if len(names) > 1:
        raise ValueError(f"a product of factors of different dtypes: {sorted(names)}")
    return names.pop()


class WorkCounter(TorchDispatchMode):
    """While active, adds up the multiplications of each call of each network of a pipeline.

    A tensor that wraps others (torchao's) is passed on, so that what it does inside is what is counted.
    """

    supports_higher_order_operators = True

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self._now_s = now_s
        self._call: tuple[str, int] | None = None
        self._numbering = Numbering()
        self._weights: dict[int, str] = {}
        # Per component, operator and dtype, and there per call: layers, multiply-accumulates, seconds.
        self._sums: dict[tuple[str, str, str], dict[int, list]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0.0]))

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: tuple = (), options: dict | None = None) -> Any:
        if any(is_traceable_wrapper_subclass(argument) for argument in arguments):
            return NotImplemented
        begin_s = self._now_s()
        output = operation(*arguments, **(options or {}))
        time_s = self._now_s() - begin_s
        name = operation.name().partition(".")[0]
        found = multiplication(name, arguments, output, self._weights) if self._call else None
        if found:
            component, number = self._call
            operator, dtype, count = found
            sums = self._sums[component, operator, dtype][number]
            layers = 2 if name in FUSED_ATTENTION else 1
            for place, value in enumerate((layers, count, time_s)):
                sums[place] += value
        return output

    @contextmanager
    def watching(self, pipeline: "DiffusionPipeline") -> Iterator[None]:
        """Within the block, count what `pipeline` does inside its networks."""
        networks = networks_of(pipeline)
        self._weights = {
            parameter.untyped_storage().data_ptr(): found if (found := operator_of(module)) in OPERATORS else "Linear"
            for network in networks.values()
            for module in network.modules()
            for parameter in module.parameters(recurse=False)
            if not is_traceable_wrapper_subclass(parameter)
        }
        # Compiled code dispatches little that could be seen: the same layers run uncompiled here.
        uncompiled = torch.compiler.set_stance("force_eager")
        with around_calls(networks, self.announced), uncompiled, self:
            yield

    def announced(self, component: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        """For `around_calls`: what happens inside counts as one call of `component`, or as part of one."""
        self._call = component, self._numbering.number(component, entry)
        try:
            return inner(*args, **options)
        finally:
            self._call = None

    @property
    def called(self) -> tuple[str, ...]:
        """The components that were called."""
        return tuple(self._numbering.calls)

    def rows(self) -> list[ExecutedWork]:
        """What one call does of each kind: medians over the calls that were watched."""
        return [
            ExecutedWork(
                component=component,
                graph="main",
                operator=operator,
                dtype=dtype,
                layers=round(median(item[0] for item in calls.values())),
                multiply_accumulates=round(median(item[1] for item in calls.values())),
                time_s=median(item[2] for item in calls.values()),
            )
            for (component, operator, dtype), calls in sorted(self._sums.items())
        ]
