"""Describe this machine and the library versions, and say which variants cannot be made and run here.

`fingerprint` covers `machine`, `software` and `threads`: what every timing depends on. `packages` are the versions of
what each back end needs besides, None where it is not installed; `obstacles` has why a variant is left out, or None.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import shutil
import subprocess
from pathlib import Path

import psutil

from stages.lib.formats.shared.availability import find_obstacles
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import OPTIONS, Params, load_params
from stages.lib.project.prompts import timed_prompt
from stages.lib.project.worker_pool import thread_count
from stages.lib.reporting.words.obstacle_words import obstacle_words

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "scikit-image", "dvc")
# The extensions that FP16, BF16 and INT8 kernels use, as Linux names them on x86 and on ARM.
X86_SETS = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16")
AMX_SETS = ("amx_tile", "amx_int8", "amx_bf16")
ARM_SETS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
INSTRUCTION_SETS = X86_SETS + AMX_SETS + ARM_SETS
CPU_INFO = Path("/proc/cpuinfo")
# What is there when NVIDIA's driver is: on Linux, in a container that hides /proc, in the Windows subsystem.
NVIDIA_DRIVER = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
# The pipeline runs without these: tools.measure_machine needs no DVC.
OPTIONAL_PACKAGES = ("dvc",)
COMPUTING_PACKAGES = ("diffusers", "torch", "transformers")  # another version of them makes and generates anew


def describe() -> dict:
    """What a timing depends on; the same on every call until hardware, versions or thread settings change."""
    fields = _cpu_fields()
    flags = fields.get("flags", fields.get("Features", "")).split()  # on x86, on ARM
    gpu, gpu_memory_gib, gpu_compute_capability = _gpu()
    # A container may give this process fewer cores than the machine has.
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count()
    physical = min(psutil.cpu_count(logical=False) or logical, logical)
    machine = {
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
    text = json.dumps(content, sort_keys=True)
    return {"fingerprint": hashlib.sha256(text.encode()).hexdigest()[:12], **content}


def available(params: Params, machine: dict, software: dict[str, str | None]) -> dict:
    """What each back end finds installed, and what keeps each declared variant from running on `machine`.

    `libraries` says in one line whatever of `software` and `packages` may change what a back end computes.
    """
    packages = {
        backend: {package: _version(package) for package in model.packages} for backend, model in OPTIONS.items()
    }
    shared = {package: software[package] for package in COMPUTING_PACKAGES}
    libraries = {
        backend: ", ".join(f"{package} {version}" for package, version in {**shared, **own}.items() if version)
        for backend, own in packages.items()
    }
    obstacles = find_obstacles(params, machine, packages)
    if obstacles[params.baseline]:
        raise UserError(
            f"params.yaml: baseline '{params.baseline}', with which everything is compared, is not available here. "
            f"{obstacle_words(obstacles[params.baseline], str)}, or choose another baseline"
        )
    return {"packages": packages, "libraries": libraries, "obstacles": obstacles}


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
    if not (any(path.exists() for path in NVIDIA_DRIVER) or shutil.which("nvidia-smi")):
        return None, None, None
    import torch

    if not torch.cuda.is_available():
        return None, None, None
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
        versions[package] = _version(package)
        if versions[package] is None and package not in OPTIONAL_PACKAGES:
            raise UserError(f"package '{package}' is not installed: run `pip install -r requirements.txt`")
    # torch says in a file of constants which CUDA it was built for.
    torch_folder = Path(importlib.util.find_spec("torch").origin).parent
    versions["cuda"] = runpy.run_path(str(torch_folder / "version.py")).get("cuda")
    return versions


def _version(package: str) -> str | None:
    """The installed version of a package by the name that pip knows, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Write the description and print it in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    params = load_params()
    timed_prompt(params)  # the first stage to run finds a mistake in params.yaml or the prompts file
    environment = describe()
    machine = environment["machine"]
    environment |= available(params, machine, environment["software"])
    write_json(arguments.output, environment)
    print(
        f"environment: {machine['cpu']}, {machine['physical_cores']} cores, threads used: {environment['threads']}, "
        f"{machine['memory_gib']} GiB, {machine['gpu'] or 'no GPU'}, torch {environment['software']['torch']}, "
        f"fingerprint {environment['fingerprint']}"
    )
    for name, obstacle in environment["obstacles"].items():
        if obstacle:
            print(f"environment: {params.variants[name].label} is left out ({obstacle_words(obstacle, str)})")


if __name__ == "__main__":
    run_stage(main)
