"""What a timing depends on: this machine, the versions of libraries, and how many threads compute."""

import hashlib
import importlib.util
import json
import os
import platform
import runpy
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from stages.lib.formats.shared.availability import installed_version
from stages.lib.formats.shared.devices import has_cuda
from stages.lib.project.errors import UserError
from stages.lib.project.worker_pool import cores_here, thread_count

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "scikit-image", "dvc")
# The extensions that FP16, BF16 and INT8 kernels use, as Linux names them on x86 and on ARM.
X86_SETS = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16")
AMX_SETS = ("amx_tile", "amx_int8", "amx_bf16")
ARM_SETS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
INSTRUCTION_SETS = X86_SETS + AMX_SETS + ARM_SETS
CPU_INFO, MACHINE_ID = Path("/proc/cpuinfo"), Path("/etc/machine-id")
# The pipeline runs without these: tools.measure_machine needs no DVC.
OPTIONAL_PACKAGES = ("dvc",)


def describe() -> dict:
    """What a timing depends on; the same on every call until hardware, versions or thread settings change."""
    fields = _cpu_fields()
    flags = fields.get("flags", fields.get("Features", "")).split()  # on x86, on ARM
    gpu, gpu_memory_gib, gpu_compute_capability = _gpu()
    physical, logical = cores_here()
    machine = {
        "id": _machine_id(),
        "cpu": _cpu_name(fields),
        "architecture": platform.machine(),
        "physical_cores": physical,
        "logical_cores": logical,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "gpu": gpu,
        "gpu_memory_gib": gpu_memory_gib,
        "gpu_compute_capability": gpu_compute_capability,
        "operating_system": _operating_system(),
    }
    content = {"machine": machine, "software": _software(), "threads": thread_count(physical, os.environ)}
    return {"fingerprint": fingerprint_of(content), **content}


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """What a description of a machine, its software and threads is called by; another one has another name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _machine_id() -> str:
    """A hash of the system's own identifier and the address of its network card: two machines may be called alike.

    Salted, so that nothing of it can be looked up elsewhere.
    """
    own = MACHINE_ID.read_text(encoding="ascii").strip() if MACHINE_ID.exists() else ""
    address = uuid.getnode()
    if address >> 40 & 1:  # drawn by chance where there is no card
        address = 0
    return hashlib.sha256(f"quantized diffusion models, {own}, {address}".encode()).hexdigest()[:12]


def _cpu_fields() -> dict[str, str]:
    """The first processor in /proc/cpuinfo; empty on systems that have no such file."""
    if not CPU_INFO.exists():
        return {}
    first = CPU_INFO.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _cpu_name(fields: dict[str, str]) -> str:
    if "model name" in fields:
        return fields["model name"]
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def _gpu() -> tuple[str | None, int | None, float | None]:
    """Name, memory in GiB and compute capability of the GPU that torch uses. torch is imported where a driver is."""
    if not has_cuda():
        return None, None, None
    import torch

    properties = torch.cuda.get_device_properties(0)
    return properties.name, round(properties.total_memory / 1024**3), properties.major + properties.minor / 10


def _operating_system() -> str:
    """Distribution and kernel without the patch level, e.g. 'Ubuntu 24.04.1 LTS, Linux 6.8'."""
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    if platform.system() != "Linux":
        return system
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {system}"
    except OSError:  # a minimal container may have no os-release
        return system


def _software() -> dict[str, str | None]:
    """Versions from the packages' metadata: importing them would take seconds."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = installed_version(package)
        if versions[package] is None and package not in OPTIONAL_PACKAGES:
            raise UserError(f"package '{package}' is not installed: run `pip install -r requirements.txt`")
    # torch says in a file of constants how it was built, +cpu or for which CUDA; its metadata need not.
    torch_folder = Path(importlib.util.find_spec("torch").origin).parent
    build = runpy.run_path(str(torch_folder / "version.py"))
    versions |= {"torch": build["__version__"], "cuda": build.get("cuda")}
    return versions
