"""What a training leaves on disk: a checkpoint to continue from, and its averaged weights in files to carry away.

Safetensors only. Each file is written beside its place and renamed; a weights file stays below MAX_FILE_BYTES.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stages.lib.project.errors import UserError
from stages.lib.project.files import whole_folder

MAX_FILE_BYTES = 14_000_000


def save_checkpoint(
    folder: Path,
    module: torch.nn.Module,
    average: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    elapsed_s: float,
) -> None:
    """Replace `folder` by the raw weights, their average, the optimizer's moments, the step and the time spent."""
    with whole_folder(folder) as temporary:
        save_file(_on_cpu(module.state_dict()), temporary / "module.safetensors")
        save_file(_on_cpu(average.state_dict()), temporary / "average.safetensors")
        moments = {
            f"{index}.{name}": value
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        save_file(_on_cpu(moments), temporary / "optimizer.safetensors")
        (temporary / "progress.json").write_text(json.dumps({"step": step, "elapsed_s": elapsed_s}) + "\n")


def load_checkpoint(
    folder: Path, module: torch.nn.Module, average: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Fill the three from `folder`; returns the step reached and the seconds spent, (0, 0.0) without a checkpoint."""
    if not (folder / "progress.json").exists():
        return 0, 0.0
    module.load_state_dict(load_file(folder / "module.safetensors"))
    average.load_state_dict(load_file(folder / "average.safetensors"))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    progress = json.loads((folder / "progress.json").read_text())
    return progress["step"], progress["elapsed_s"]


def save_weights(folder: Path, stem: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> list[Path]:
    """Write FP32 weights as `stem-1.safetensors`, `stem-2.safetensors`, ... each below MAX_FILE_BYTES.

    `metadata` goes into each file's header. Files of the same stem that were there before are removed.
    """
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, value in _on_cpu(tensors).items():
        value = value.float()
        size += value.numel() * 4
        if size > MAX_FILE_BYTES and shards[-1]:
            shards.append({})
            size = value.numel() * 4
        shards[-1][name] = value
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{stem}-*.safetensors"):
        old.unlink()
    paths = []
    for number, shard in enumerate(shards, start=1):
        path = folder / f"{stem}-{number}.safetensors"
        save_file(shard, path.with_suffix(".partial"), metadata={**metadata, "shards": str(len(shards))})
        path.with_suffix(".partial").replace(path)
        paths.append(path)
    return paths


def load_weights(folder: Path, stem: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `save_weights` wrote: the tensors and the metadata; a missing shard is a UserError."""
    paths = sorted(folder.glob(f"{stem}-*.safetensors"))
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata())
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    if not paths or len(paths) != int(metadata["shards"]):
        raise UserError(f"{folder}/{stem}-*.safetensors: {len(paths)} files found, not all: run that training first")
    return tensors, metadata


def copy_weights(folder: Path, stem: str, log: Path, export: Path) -> None:
    """Copy the weights files of `stem` and the log into the flat folder `export`."""
    export.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{stem}-*.safetensors"):
        shutil.copyfile(path, export / path.name)
    shutil.copyfile(log, export / f"{stem}-log.jsonl")


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # A copy each: safetensors refuses tensors that share memory and drops channels-last strides.
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
