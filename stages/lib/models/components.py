"""The networks of a pipeline folder, one at a time: their classes, reading them, writing their tensors."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.models.kinds import MODEL_INDEX, kind_of
from stages.lib.models.pipelines import STEMS, disable_progress_bars
from stages.lib.models.soundness import few_layers, sensible
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, write_json

if TYPE_CHECKING:
    import torch

# A dtype in a safetensors header: its bits, and its name here, which but for float8 (e4m3fn) is PyTorch's.
HEADER_DTYPES = {
    "F64": (64, "float64"),
    "F32": (32, "float32"),
    "F16": (16, "float16"),
    "BF16": (16, "bfloat16"),
    "I64": (64, "int64"),
    "I32": (32, "int32"),
    "I16": (16, "int16"),
    "I8": (8, "int8"),
    "U8": (8, "uint8"),
    "F8_E4M3": (8, "float8"),
    "BOOL": (8, "bool"),
}
MAX_SHARD_BYTES = 5 * 10**9
# What a component that rounds activations has besides its weights: the scales of its layers' inputs.
ACTIVATIONS_FILE = "activations.safetensors"


@dataclass(frozen=True)
class Header:
    """One tensor of a safetensors file as its header describes it."""

    name: str
    dtype: str
    elements: int
    stored_bytes: int


def weight_files(folder: Path, component: str) -> list[Path]:
    """The safetensors files that hold a component: the only one, else those of its index, sorted; then scales."""
    scales = [path for path in [folder / component / ACTIVATIONS_FILE] if path.is_file()]
    for stem in STEMS:
        single = folder / component / f"{stem}.safetensors"
        if single.is_file():
            return [single, *scales]
        index = folder / component / f"{stem}.safetensors.index.json"
        if index.is_file():
            return [index.parent / name for name in sorted(set(read_json(index)["weight_map"].values()))] + scales
    raise UserError(f"{folder / component} has no weights: run `dvc repro` to make the model folder again")


def headers(folder: Path, component: str) -> Iterator[Header]:
    """What the headers of a component's safetensors files say of each tensor, by file and name; no weight is read."""
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder, component):
        try:
            with safe_open(path, framework="pt") as file:
                for name in sorted(file.keys()):
                    part = file.get_slice(name)
                    bits, dtype = HEADER_DTYPES[part.get_dtype()]
                    yield Header(name, dtype, prod(part.get_shape()), prod(part.get_shape()) * bits // 8)
        except SafetensorError as error:
            raise UserError(f"{path} is truncated or corrupt ({error}): delete {folder}, run `dvc repro`") from None


def shared_names(folder: Path, component: str) -> dict[str, str]:
    """Tensors that are not stored because they share the bytes of another one, with its name, from the same headers."""
    from safetensors import safe_open

    shared: dict[str, str] = {}
    for path in weight_files(folder, component):
        with safe_open(path, framework="pt") as file:
            stored = set(file.keys())
            shared |= {name: kept for name, kept in (file.metadata() or {}).items() if kept in stored}
    return shared


def stored_float_dtype(folder: Path, component: str) -> str:
    """The floating-point dtype that most elements of a component are stored in."""
    elements: Counter[str] = Counter()
    for header in headers(folder, component):
        if "float" in header.dtype:
            elements[header.dtype] += header.elements
    if not elements:
        raise UserError(f"{folder / component}: there is no floating-point tensor in it: bring the model again")
    return elements.most_common(1)[0][0]


def load_component(folder: Path, component: str, dtype: str) -> "torch.nn.Module":
    """Read one network onto the CPU with every floating-point tensor as `dtype`, in evaluation mode.

    A tensor that the files lack, or that does not fit the configuration, is a UserError.
    """
    import torch
    from transformers import PreTrainedModel

    disable_progress_bars()
    kind = kind_of(folder).class_of(component)
    dtype_argument = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    with sensible(folder / component, kind):
        model, info = kind.from_pretrained(
            folder / component,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **{dtype_argument: getattr(torch, dtype)},
        )
    if info["missing_keys"]:
        # it would be filled with random numbers
        raise UserError(f"{folder / component}: tensor '{min(info['missing_keys'])}' is missing: bring the model again")
    return model.eval().requires_grad_(False)


def use_current_names(folder: Path, component: str) -> bool:
    """Write a network anew if its files name tensors as an older library did; whether they did.

    Stable Diffusion v1.5 as published does. The libraries know the old names when they load a network. A tensor of
    another size than the configuration says is a UserError.
    """
    current = empty_component(folder, component).state_dict()
    old = [path for path in weight_files(folder, component) if path.name != ACTIVATIONS_FILE]
    stored = {header.name: header.elements for header in headers(folder, component)}
    for name in current.keys() & stored.keys():
        if current[name].numel() != stored[name]:
            raise UserError(
                f"{folder / component}: tensor '{name}' has {stored[name]} elements, by its config.json "
                f"{current[name].numel()}: bring both from the same model"
            )
    if current.keys() >= stored.keys():
        if current.keys() > stored.keys():
            load_component(folder, component, stored_float_dtype(folder, component))  # tells whether one is missing
        return False
    state = load_component(folder, component, stored_float_dtype(folder, component)).state_dict()
    state = {name: tensor.clone() for name, tensor in state.items()}
    for path in [*old, *(folder / component).glob("*.index.json")]:
        path.unlink()
    write_component(folder, component, state)
    return True


def empty_component(folder: Path, component: str) -> "torch.nn.Module":
    """Build one network from its config alone: parameters on the meta device (no memory), buffers real."""
    return empty_network(folder / component, kind_of(folder).class_of(component))


def empty_network(folder: Path, kind: type) -> "torch.nn.Module":
    """The network of class `kind` that the config.json in `folder` describes; see `empty_component`."""
    from accelerate import init_empty_weights
    from transformers import PreTrainedModel

    with sensible(folder, kind), few_layers(folder), init_empty_weights(include_buffers=False):
        if issubclass(kind, PreTrainedModel):
            model = kind(kind.config_class.from_pretrained(folder, local_files_only=True))
        else:
            model = kind.from_config(kind.load_config(folder, local_files_only=True))
    return model.eval().requires_grad_(False)


def rebuild_component(
    folder: Path, component: str, linears: list[str], suffixes: tuple[str, ...], build: "Callable[..., torch.nn.Module]"
) -> "torch.nn.Module":
    """One network from its config and its safetensors files, on the CPU, without an FP32 copy of a quantized weight.

    `linears` are the names of its quantized Linear layers. The layer that takes the place of `linear` is
    `build(linear, *tensors)`: `tensors` are the stored ones called `<name>.weight<suffix>` with each of `suffixes`; the
    given layer has its bias, but a weight without memory or in no usable form. A tensor that is missing is a UserError.
    """
    from safetensors.torch import load_file

    model = empty_component(folder, component)
    state = {}
    for path in weight_files(folder, component):
        state.update(load_file(path))
    state |= {name: state[kept] for name, kept in shared_names(folder, component).items()}
    needed = {f"{name}.weight{suffix}" for name in linears for suffix in suffixes}
    needed |= {name for name, _ in model.named_parameters()}
    lost = sorted(needed - state.keys())
    if lost:
        raise UserError(f"{folder / component}: tensor '{lost[0]}' is missing: delete {folder}, run `dvc repro`")
    model.load_state_dict(
        {name: state[name] for name in state.keys() & model.state_dict().keys() if state[name].is_floating_point()},
        strict=False,
        assign=True,
    )
    for name in linears:
        parent, _, child = name.rpartition(".")
        tensors = (state[f"{name}.weight{suffix}"] for suffix in suffixes)
        model.get_submodule(parent).register_module(child, build(model.get_submodule(name), *tensors))
    return model.eval().requires_grad_(False)


def write_component(out: Path, component: str, state: "dict[str, torch.Tensor]") -> None:
    """Write the tensors of one network as safetensors, in shards of at most 5 GB. Same tensors, same bytes."""
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(
        {name: state[name].contiguous() for name in sorted(state)},
        out / component,
        filename_pattern=f"{_stem(out, component)}{{suffix}}.safetensors",
        max_shard_size=MAX_SHARD_BYTES,
    )


def _stem(folder: Path, component: str) -> str:
    """How the library of a network calls its weights."""
    from transformers import PreTrainedModel

    return STEMS[issubclass(kind_of(folder).class_of(component), PreTrainedModel)]


def copy_companions(base: Path, out: Path, dtypes: dict[str, str]) -> None:
    """Copy everything of `base` that is no weight. `dtypes` is what the config of each network shall say."""
    kind = kind_of(base)
    shutil.copyfile(base / MODEL_INDEX, out / MODEL_INDEX)
    for name in kind.companions:
        shutil.copytree(base / name, out / name)
    for component in kind.networks:
        config = read_json(base / component / "config.json")
        # transformers loads in the dtype that the config names when nobody asks for another
        for key in ("dtype", "torch_dtype"):
            if key in config:
                config[key] = dtypes[component]
        (out / component).mkdir()
        write_json(out / component / "config.json", config)
