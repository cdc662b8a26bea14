"""How much room does a loaded variant take? A fresh process loads it, and drops one component after the other.

Two figures per component, in bytes. `memory`: what its tensors occupy, counted through every wrapper (memory_bytes in
stages.lib.inventory). `growth`: by how much the process shrinks when the component is dropped, which is how much larger
it is with the component than without: also what a runtime keeps besides, such as reordered copies and compiled code,
but not what libraries cost once. On a CPU it is memory that belongs to this process alone (USS of psutil). Loaders map
weight files into memory, and the system brings a page when it is first read: each is read before measuring, as the
first picture would.
"""

import argparse
import gc
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.backends import BACKENDS
from stages.lib.errors import UserError, run_stage
from stages.lib.params import COMPONENTS, load_params

if TYPE_CHECKING:
    import torch

# glibc gives blocks from this size on back to the system at once when they are freed; other systems ignore the names.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}


def loaded_size(variant: str, folder: Path, device: str) -> dict[str, dict[str, int]]:
    """{"memory": {component: bytes}, "growth": {component: bytes}} of the model `folder` on "cpu" or "cuda"."""
    command = [sys.executable, "-m", __name__, "--variant", variant, "--folder", str(folder), "--device", device]
    done = subprocess.run(command, env={**os.environ, **ALLOCATOR}, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"
        raise UserError(f"variant '{variant}' cannot be loaded in a process of its own: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(variant: str, folder: Path, device: str) -> dict[str, dict[str, int]]:
    """What `loaded_size` returns, measured in this process, which must be a fresh one."""
    from stages.lib.inventory import memory_bytes

    chosen = load_params().variant(variant)
    pipeline = BACKENDS[chosen.backend].load_module().load(folder, chosen, device)
    memory = {component: memory_bytes(getattr(pipeline, component)) for component in COMPONENTS}
    for component in COMPONENTS:
        _read_every_page(getattr(pipeline, component))
    growth = {}
    before = _used_bytes(device)
    for component in COMPONENTS:
        setattr(pipeline, component, None)
        after = _used_bytes(device)
        growth[component], before = before - after, after
    return {"memory": memory, "growth": growth}


def _read_every_page(network: "torch.nn.Module") -> None:
    from stages.lib.inventory import plain_tensors

    for tensor in plain_tensors([*network.parameters(), *network.buffers()]):
        if tensor.device.type == "cpu":
            tensor.flatten()[:: mmap.PAGESIZE // tensor.element_size()].sum()


def _used_bytes(device: str) -> int:
    """What this process alone uses now, garbage collected: of main memory, or of a GPU through PyTorch."""
    gc.collect()
    if device == "cuda":
        import torch

        return torch.cuda.memory_allocated()
    import psutil

    return psutil.Process().memory_full_info().uss


def main() -> None:
    """Print the figures as one line of JSON, the last one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.variant, arguments.folder, arguments.device)))


if __name__ == "__main__":
    run_stage(main)
