"""How much room does a loaded variant take? A fresh process loads it, and drops one component after the other.

Two figures per component, in bytes. `memory`: what its tensors occupy, counted through every wrapper (memory_bytes in
stages.lib.models.inventory). `growth`: by how much the process shrinks when the component is dropped, which is how much
larger it is with the component than without: also what a runtime keeps besides, such as reordered copies and compiled
code, but not what libraries cost once. On a CPU it is memory that belongs to this process alone (USS of psutil).
Loaders map weight files into memory, and the system brings a page when it is first read: each is read before measuring,
as the first image would.
"""

import argparse
import gc
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.availability import CannotMake
from stages.lib.models.inventory import disk_bytes
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.params import Variant, load_params

if TYPE_CHECKING:
    import torch


UNAVAILABLE = "unavailable"  # what the process answers with instead: why the model cannot be loaded
# How a process ends whose libraries fail; one that the system kills for its memory ends otherwise.
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
# glibc gives blocks from this size on back to the system at once when they are freed; other systems ignore the names.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}


def loaded_bytes(folder: Path, variant: Variant) -> float:
    """What the variant in `folder` takes at least when it is loaded, as its back end states it; nothing is loaded."""
    return BACKENDS[variant.backend].load_peak * sum(disk_bytes(folder).values())


class LoadingProcess:
    """A fresh process that waits, its libraries imported, for a model to load; used as a `with` block.

    Importing takes longer than loading a small model: it is done while the model is still being made.
    """

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def __enter__(self) -> "LoadingProcess":
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, "--variant", self.variant],
            env={**os.environ, **ALLOCATOR},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def loaded_size(self, folder: Path, device: str) -> dict[str, dict[str, int]]:
        """{"memory": {component: bytes}, "growth": {component: bytes}} of the model `folder` on "cpu" or "cuda".

        A model that its runtime does not load raises CannotMake, anything else that it fails with a UserError.
        """
        output, _ = self._process.communicate(json.dumps({"folder": str(folder), "device": device}) + "\n")
        if -self._process.returncode in CRASHES:
            backend = load_params().variant(self.variant).backend
            message = f"its process ended with {signal.Signals(-self._process.returncode).name}"
            names = {"runtime": backend, "network": kind_of(folder).pipeline, "message": message}
            raise CannotMake({"reason": "graph_refused"} | names)
        if self._process.returncode:
            self._errors.seek(0)
            lines = [line for line in self._errors if line.strip()]
            reason = lines[-1].strip() if lines else f"exit code {self._process.returncode}"
            raise UserError(
                f"variant '{self.variant}' cannot be loaded in a process of its own: {reason.removeprefix('error: ')}"
            )
        answer = json.loads(output.splitlines()[-1])
        if UNAVAILABLE in answer:
            raise CannotMake(answer[UNAVAILABLE])
        return answer


def measure(variant: str, folder: Path, device: str) -> dict[str, dict[str, int]]:
    """What `loaded_size` returns, measured in this process, which must be a fresh one."""
    from stages.lib.models.inventory import memory_bytes

    chosen = load_params().variant(variant)
    pipeline = BACKENDS[chosen.backend].load_module().load(folder, chosen, device)
    components = kind_of(folder).networks
    memory = {component: memory_bytes(getattr(pipeline, component)) for component in components}
    for component in components:
        _read_every_page(getattr(pipeline, component))
    growth = {}
    before = _used_bytes(device)
    for component in components:
        setattr(pipeline, component, None)
        after = _used_bytes(device)
        growth[component], before = before - after, after
    return {"memory": memory, "growth": growth}


def _read_every_page(network: "torch.nn.Module") -> None:
    from stages.lib.models.inventory import plain_tensors

    for tensor in plain_tensors([*network.parameters(), *network.buffers()]):
        if tensor.device.type == "cpu":
            tensor.flatten()[:: mmap.PAGESIZE // tensor.element_size()].clone()  # FP8 has no sum on a CPU


def _used_bytes(device: str) -> int:
    """What this process alone uses now, garbage collected: of main memory, or of a GPU through PyTorch."""
    gc.collect()
    if device == "cuda":
        import torch

        return torch.cuda.memory_allocated()
    import psutil

    return psutil.Process().memory_full_info().uss


def main() -> None:
    """Import, wait for a line of JSON with folder and device, print the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    variant = parser.parse_args().variant
    BACKENDS[load_params().variant(variant).backend].load_module()
    from diffusers import DiffusionPipeline  # noqa: F401

    asked = sys.stdin.readline()
    if asked:  # nothing: the model could not be made
        asked = json.loads(asked)
        try:
            answer = measure(variant, Path(asked["folder"]), asked["device"])
        except CannotMake as error:
            answer = {UNAVAILABLE: error.obstacle}
        print(json.dumps(answer))


if __name__ == "__main__":
    run_stage(main)
