"""One denoiser in one format in a process of its own, which answers a parent: made, compiled, timed, profiled.

Settings of PyTorch hold for a whole process, so every format has one. Weights are random: only size, memory and time
are measured. It is timed when the parent asks, while other processes wait to be asked.
"""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.lib.formats.shared.compiling import compile_network
from stages.lib.formats.shared.devices import arithmetic_dtype, compute_dtype
from stages.lib.formats.shared.linears import free_linears
from stages.lib.models.calls import NetworkCall
from stages.lib.models.components import empty_component
from stages.lib.models.inventory import memory_bytes
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import first_line
from stages.lib.project.params import Variant, variant_of

FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, ImportError)
ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
KERNELS, NAME = 12, 90  # how many of a profile are kept, and how much of a name
MIB = 2**20


def serve(pipe: Connection, turn: Any, job: dict[str, Any]) -> None:
    """Say {"ready": figures} or {"failure": a line}, then answer what is asked until the process is killed.

    `job`: `path` of an architecture, `inputs` and `fixed` (shapes), `batch`, `variant`, `settings`. Asked is
    ("time", compiled, calls), ("profile",), or ("batch", n), which is answered as at first.
    """
    variant = variant_of(name="row", device="cuda", **job["variant"])
    settings = job["settings"]
    torch.backends.cudnn.benchmark = settings.get("cudnn_benchmark", False)
    for key, value in settings.get("inductor", {}).items():
        setattr(torch._inductor.config, key, value)
    first = ATTENTION[settings.get("attention", "flash")]
    order = [first, *(kind for kind in ATTENTION.values() if kind != first), SDPBackend.MATH]
    try:
        with torch.no_grad(), sdpa_kernel(order, set_priority=True):
            with turn:  # 16-bit weights and those of the format are there at once
                row = Row(job, variant)
            pipe.send({"ready": row.begin(job["batch"])})
            while True:
                what, *asked = pipe.recv()
                if what == "batch":
                    pipe.send({"ready": row.begin(*asked)})
                else:
                    pipe.send(row.time_ms(*asked) if what == "time" else row.profile())
    except FAILURES as error:
        pipe.send({"failure": f"{type(error).__name__}: {first_line(error)}"[:300]})


class Row:
    """A denoiser on the GPU, of which `begin` says figures."""

    def __init__(self, job: dict[str, Any], variant: Variant) -> None:
        self._job, self._variant = job, variant
        self._dtype = getattr(torch, arithmetic_dtype(compute_dtype(variant, "cuda")))
        self._compile = getattr(variant, "compile", job["settings"].get("compile", False))
        self._compiled = False
        self._network = random_denoiser(Path(job["path"]), self._dtype)
        if getattr(variant, "memory_format", job["settings"].get("memory_format")) == "channels_last":
            self._network.to(memory_format=torch.channels_last)
        if job["settings"].get("fuse_qkv"):
            self._network.fuse_qkv_projections()
        self._inputs = self._drawn(1)
        parameters = sum(parameter.numel() for parameter in self._network.parameters())
        exact = self._call().float()
        converted = CONVERT[variant.backend](self._network, variant, self._inputs)
        error = ((self._call().float() - exact).norm() / exact.norm()).item()
        self._figures = {
            "parameters": parameters,
            "converted_layers": converted,
            "error": error,
            "size_mib": memory_bytes(self._network) / MIB,
        }
        torch.cuda.empty_cache()

    def begin(self, batch: int) -> dict[str, Any]:
        """Compile for that batch. Sizes and peaks in MiB, seconds of compiling, products, error beside 16 bits."""
        self._inputs = self._drawn(batch)
        figures = {**self._figures, "products": product_sizes(self._network, self._inputs, self._compiled)}
        if self._compile and not self._compiled:
            compile_network(self._network, self._compile)
            self._compiled = True
        first_s = self._seconds()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        again_s = min(self._seconds() for _ in range(3))
        figures["peak_mib"] = torch.cuda.max_memory_allocated() / MIB
        return {**figures, "compile_s": first_s - again_s} if self._compiled else figures

    def _drawn(self, batch: int) -> dict[str, Any]:
        return random_inputs(self._job["inputs"], self._job["fixed"], batch, self._dtype)

    def _call(self) -> torch.Tensor:
        return self._network(**self._inputs, return_dict=False)[0]

    def _seconds(self) -> float:
        begin_s = time.perf_counter()
        self._call()
        torch.cuda.synchronize()
        return time.perf_counter() - begin_s

    def time_ms(self, compiled: bool, calls: int) -> list[float]:
        """Milliseconds of each of `calls` calls by the GPU's own clock, after one that is not counted."""
        with torch.compiler.set_stance("default" if compiled else "force_eager"):
            self._call()
            events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
            torch.cuda.synchronize()
            for begin, end in events:
                begin.record()
                self._call()
                end.record()
            torch.cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in events]

    def profile(self) -> dict[str, float]:
        """Milliseconds of a call by kernel: the KERNELS longest, and "" for all together."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(2):
                self._call()
            torch.cuda.synchronize()
        found: dict[str, float] = {}
        for item in profile.key_averages():
            name = item.key[:NAME]
            found[name] = found.get(name, 0) + item.self_device_time_total / 2000
        longest = sorted(found, key=lambda name: -found[name])[:KERNELS]
        return {"": sum(found.values()), **{name: found[name] for name in longest}}


def random_denoiser(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The denoiser of an architecture on the GPU: matrices uniform with variance 1 / fan-in, vectors 1, biases 0."""
    (component,) = kind_of(folder).of_role("denoiser")
    network = empty_component(folder, component)
    generator = torch.Generator("cuda").manual_seed(0)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            value = torch.zeros if name.endswith("bias") else torch.ones
            tensor = value(parameter.shape, dtype=dtype, device="cuda")
            if tensor.ndim > 1:
                bound = (3 / tensor[0].numel()) ** 0.5
                tensor.uniform_(-bound, bound, generator=generator)
            setattr(module, name, nn.Parameter(tensor, requires_grad=False))
    return network.to("cuda", dtype)


def random_inputs(shapes: dict[str, Any], fixed: dict[str, Any], batch: int, dtype: torch.dtype) -> dict[str, Any]:
    """Tensors of these shapes, the first number of `shapes` times `batch`; what has one dimension is FP32 and 0.5."""
    generator = torch.Generator("cuda").manual_seed(1)

    def tensor(shape: list[int]) -> torch.Tensor:
        if len(shape) == 1:
            return torch.full(shape, 0.5, device="cuda")
        return torch.randn(shape, generator=generator, device="cuda", dtype=torch.float32).to(dtype)

    def made(value: Any, factor: int) -> Any:
        if isinstance(value, dict):
            return {name: made(item, factor) for name, item in value.items()}
        return tensor([value[0] * factor, *value[1:]])

    return made(shapes, batch) | made(fixed, 1)


def product_sizes(network: nn.Module, inputs: dict[str, Any], compiled: bool) -> dict[str, float]:
    """Of the Linear layers of one call: how many products, and their multiply-accumulates in 10^9.

    `typical_gmac` is the mean over products, each weighted with its own work: the size that the work comes in.
    """
    counts: list[int] = []

    def hook(module: nn.Linear, given: tuple[torch.Tensor, ...]) -> None:
        counts.append(given[0].numel() * module.out_features)

    hooks = [part.register_forward_pre_hook(hook) for part in network.modules() if isinstance(part, nn.Linear)]
    with torch.compiler.set_stance("force_eager" if compiled else "default"):
        network(**inputs)
    for handle in hooks:
        handle.remove()
    total = sum(counts)
    return {
        "count": len(counts),
        "gmac": total / 1e9,
        "typical_gmac": sum(count**2 for count in counts) / total / 1e9,
    }


def _keep(network: nn.Module, variant: Variant, inputs: dict[str, Any]) -> int:
    return 0


def _torchao(network: nn.Module, variant: Variant, inputs: dict[str, Any]) -> int:
    from stages.lib.formats.torchao.layers import chosen_layers
    from stages.lib.formats.torchao.storage import quantize_layers

    chosen = chosen_layers(network, variant, [NetworkCall("forward", inputs)])
    return len(quantize_layers(network, chosen, variant, reduce_range=False))


def _bitsandbytes(network: nn.Module, variant: Variant, inputs: dict[str, Any]) -> int:
    from stages.lib.formats.bitsandbytes.layers import built, packed

    names = free_linears(network)
    for name in names:
        linear = network.get_submodule(name)
        dtype = linear.weight.dtype
        stored, scale = packed("weight", linear.weight.data, variant.weights, Path(name)).values()
        linear.weight = None
        network.set_submodule(name, built(linear, stored, scale, variant.weights, dtype))
    return len(names)


def _layerwise(network: nn.Module, variant: Variant, inputs: dict[str, Any]) -> int:
    from stages.lib.formats.layerwise.backend import cast_names

    return len(cast_names(network, next(network.parameters()).dtype))


# In place; how many layers were converted. A back end of this project's own, on a network that no file holds.
CONVERT: dict[str, Callable[[nn.Module, Variant, dict[str, Any]], int]] = {
    "torch": _keep,
    "torchao": _torchao,
    "bitsandbytes": _bitsandbytes,
    "layerwise": _layerwise,
}
