"""What a model folder stores on disk, and what a loaded network holds in memory."""

import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.models.components import empty_component, headers, shared_names, weight_files
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError

if TYPE_CHECKING:
    import torch

# A component that OpenVINO runs: the constants of its graph, and the graph as compressed XML.
GRAPH_CONSTANTS = "openvino_model.bin"
GRAPH = "openvino_model.xml.gz"
# A component that ONNX Runtime runs: its larger constants, and the graph, compressed.
ONNX_CONSTANTS = "model.onnx.data"
ONNX_GRAPH = "model.onnx.gz"
GRAPH_FILES = (GRAPH_CONSTANTS, GRAPH, ONNX_CONSTANTS, ONNX_GRAPH)
NORMALIZATION = re.compile(r"Norm(\d+d)?$|RMS_?[nN]orm")
# What a quantized weight or input needs besides its integers: tensors that stand for no parameter of the base model.
QUANTIZATION_SUFFIXES = ("_scale", "_zero_point")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file, or one constant of a graph.

    `parameters`: how many of the base model's it stands for. A tensor that shares the bytes of another one, which are
    counted there, has elements, but neither parameters nor bytes.
    """

    component: str
    name: str
    operator: str
    elements: int
    parameters: int
    dtype: str
    stored_bytes: int


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """Every tensor of a model folder, from the headers of its files and the configs; no weight is read.

    `operator` is what `operator_of` says of the layer that owns the tensor.
    """
    return [tensor for component in kind_of(folder).networks for tensor in stored_component(folder, component)]


def unpacked(tensors: Iterable[StoredTensor], dtype: str) -> list[StoredTensor]:
    """The tensors; those of bytes, each with several codes of `dtype`, under that name."""
    return [replace(item, dtype=dtype) if item.dtype == "uint8" else item for item in tensors]


def stored_component(folder: Path, component: str) -> Iterator[StoredTensor]:
    """The tensors of one component; see `stored_tensors`."""
    model = empty_component(folder, component)
    operators = {name: operator_of(module) for name, module in model.named_modules()}
    parameters = dict(model.named_parameters())
    known = parameters.keys() | dict(model.named_buffers()).keys()
    dtypes = {}
    for header in headers(folder, component):
        dtypes[header.name] = header.dtype
        owner = _owner(header.name)
        if owner not in known:
            raise UserError(f"{folder / component}: tensor '{header.name}' belongs to no layer: make the folder again")
        yield StoredTensor(
            component=component,
            name=header.name,
            operator=operators[owner.rpartition(".")[0]],
            elements=header.elements,
            parameters=parameters[header.name].numel() if header.name in parameters else 0,
            dtype=header.dtype,
            stored_bytes=header.stored_bytes,
        )
    state = model.state_dict()
    for name, kept in sorted(shared_names(folder, component).items()):
        operator, elements = operators[name.rpartition(".")[0]], state[name].numel()
        yield StoredTensor(component, name, operator, elements, 0, dtypes[kept], 0)


def _owner(name: str) -> str:
    """The parameter that a tensor belongs to: itself, the weight that it scales, or that of the layer it scales for."""
    for suffix in QUANTIZATION_SUFFIXES:
        name = name.removesuffix(suffix)
    return f"{name.removesuffix('.input')}.weight" if name.endswith(".input") else name


def operator_of(module: "torch.nn.Module") -> str:
    """Conv1d, Conv2d, Conv3d, Linear, Embedding, Normalization or Other."""
    from torch import nn

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)
    found = next((kind.__name__ for kind in kinds if isinstance(module, kind)), None)
    if found:
        return found
    # Every library has classes of its own for these.
    return "Normalization" if NORMALIZATION.search(type(module).__name__) else "Other"


def disk_bytes(folder: Path) -> dict[str, int]:
    """Bytes of the files with weights of each component: safetensors with their headers, graphs with their text."""
    return {
        component: sum(path.stat().st_size for path in _files(folder, component))
        for component in kind_of(folder).networks
    }


def runtime_bytes(folder: Path) -> dict[str, int]:
    """The same once graphs, which are stored compressed, are unpacked: the bytes that a runtime loads."""
    networks = kind_of(folder).networks
    return {component: sum(_unpacked(path) for path in _files(folder, component)) for component in networks}


def _unpacked(path: Path) -> int:
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as file:  # the last four bytes of a gzip file are the length of what is in it (RFC 1952)
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def container_bytes(folder: Path) -> dict[str, int]:
    """Those of `disk_bytes` that hold no tensor: the headers of safetensors files, and the text of graphs."""
    return {
        component: sum(_container_bytes(path) for path in _files(folder, component))
        for component in kind_of(folder).networks
    }


def _container_bytes(path: Path) -> int:
    if path.suffix == ".safetensors":  # eight bytes with the length of the header, and the header
        with path.open("rb") as file:
            return 8 + int.from_bytes(file.read(8), "little")
    if path.name == ONNX_GRAPH:
        return max(0, path.stat().st_size - _bytes_inside(path))
    return 0 if path.name in (GRAPH_CONSTANTS, ONNX_CONSTANTS) else path.stat().st_size


def _bytes_inside(path: Path) -> int:
    """Bytes of the small constants that an ONNX graph itself holds, and which have rows of their own."""
    import onnx

    graph = onnx.load_model_from_string(gzip.decompress(path.read_bytes())).graph
    return sum(len(tensor.raw_data) for tensor in graph.initializer)


def is_graph(folder: Path, component: str) -> bool:
    """Whether a component is stored as a graph, not as the safetensors of its parameters alone."""
    return any((folder / component / name).is_file() for name in GRAPH_FILES)


def _files(folder: Path, component: str) -> list[Path]:
    if not is_graph(folder, component):
        return weight_files(folder, component)
    graph = [path for name in GRAPH_FILES if (path := folder / component / name).is_file()]
    return graph + files_beside(folder, component)


def files_beside(folder: Path, component: str) -> list[Path]:
    """Files beside a graph with what PyTorch reads of the network, such as the thresholds of a safety checker."""
    return sorted((folder / component).glob("*.safetensors"))


def memory_bytes(module: "torch.nn.Module") -> int:
    """Bytes that a network's parameters, buffers and packed weights occupy, each storage once.

    A sum over `parameters()` misses the packed weights of dynamically quantized layers altogether, and gives the
    original bytes of a tensor subclass that keeps integers inside. Of a packed weight, which cannot be looked into,
    this counts what it must hold (see `_packed_bytes`); a kernel library may keep more. Of a graph that a runtime
    compiled, it counts the constants as the runtime lists them: copies that its kernels reorder come on top.
    """
    storages: dict[tuple[str, int], int] = {}
    for tensor in plain_tensors([*module.parameters(), *module.buffers()]):
        if tensor.device.type != "meta":
            storage = tensor.untyped_storage()
            storages[(str(tensor.device), storage.data_ptr())] = storage.nbytes()
    return sum(storages.values()) + sum(_packed_bytes(part) for part in module.modules())


def plain_tensors(tensors: "Iterable[torch.Tensor]") -> "Iterator[torch.Tensor]":
    """The tensors themselves, or what a wrapper subclass keeps inside, at any depth."""
    for tensor in tensors:
        flatten = getattr(tensor, "__tensor_flatten__", None)
        if flatten is None:
            yield tensor
        else:
            yield from plain_tensors(getattr(tensor, name) for name in flatten()[0])


def _packed_bytes(module: "torch.nn.Module") -> int:
    """Bytes that the packed weight of a quantized linear layer, or a compiled graph, must hold; else 0.

    The integers, the FP32 bias, and per scale an FP32 scale and an INT32 zero point, as FBGEMM's packed form has them.
    PyTorch's default engine on x86 keeps just that: the resident memory of a process grew by 145 to 151 MiB for
    144 MiB of integers. Its engine "onednn", which nobody chooses here, keeps the integers twice.
    """
    import torch
    from torch.ao.nn.quantized.modules.linear import LinearPackedParams

    if hasattr(module, "constant_bytes"):
        return module.constant_bytes()
    if not isinstance(module, LinearPackedParams):
        return 0
    weight, bias = module._weight_bias()
    total = weight.numel() * weight.element_size()
    if weight.is_quantized:
        per_tensor = weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
        total += 8 * (1 if per_tensor else weight.q_per_channel_scales().numel())
    return total + (0 if bias is None else bias.numel() * bias.element_size())


def compression(baseline: dict, variant: dict) -> float:
    """How many times smaller `variant` is than `baseline` on disk, parameter for parameter: 1 against itself.

    Both are sizes as in reports/M/size/V.json, of the whole model or of one component. A back end may leave parameters
    out that generation does not need: bytes are compared of as many parameters as either stores.
    """
    return baseline["disk_mib"] * (variant["parameters"] / baseline["parameters"]) / variant["disk_mib"]


def compression_text(ratio: float) -> str:
    """'2.00x smaller' of a compression of 2, '2.00x larger' of 0.5, 'as large' of 1."""
    if f"{ratio:.2f}" == "1.00":
        return "as large"
    return f"{ratio:.2f}x smaller" if ratio > 1 else f"{1 / ratio:.2f}x larger"
