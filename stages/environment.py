"""Describe this machine and the library versions. What stands here is what a timing depends on."""

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

from stages.lib.errors import UserError, run_stage
from stages.lib.files import write_json
from stages.lib.params import load_params
from stages.lib.prompts import timed_prompt

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


def describe() -> dict:
    """The content of environment.json; the same on every call until hardware, versions or thread settings change."""
    fields = _cpu_fields()
    flags = fields.get("flags", fields.get("Features", "")).split()  # on x86, on ARM
    gpu, gpu_memory_gib = _gpu()
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
        "operating_system": _operating_system(),
    }
    content = {"machine": machine, "software": _software(), "threads": thread_count(physical, os.environ)}
    text = json.dumps(content, sort_keys=True)
    return {"fingerprint": hashlib.sha256(text.encode()).hexdigest()[:12], **content}


def thread_count(physical_cores: int, variables: dict[str, str] | os._Environ) -> int:
    """The threads torch computes with: what the variables ask for, else one per physical core."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = variables.get(name, "").split(",")[0].strip()
        if value:
            if not (value.isascii() and value.isdigit() and int(value) > 0):
                raise UserError(f"environment variable {name} has the value '{value}': use a whole number from 1")
            return int(value)
    return physical_cores


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


def _gpu() -> tuple[str | None, int | None]:
    """Name and memory in GiB of the GPU that torch uses, or (None, None). torch is imported where a driver is."""
    if not (any(path.exists() for path in NVIDIA_DRIVER) or shutil.which("nvidia-smi")):
        return None, None
    import torch

    if not torch.cuda.is_available():
        return None, None
    properties = torch.cuda.get_device_properties(0)
    return properties.name, round(properties.total_memory / 1024**3)


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
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package in OPTIONAL_PACKAGES:
                versions[package] = None
                continue
            raise UserError(f"package '{package}' is not installed: run `pip install -r requirements.txt`") from None
    # torch says in a file of constants which CUDA it was built for.
    torch_folder = Path(importlib.util.find_spec("torch").origin).parent
    versions["cuda"] = runpy.run_path(str(torch_folder / "version.py")).get("cuda")
    return versions


def main() -> None:
    """Write the description and print it in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    timed_prompt(load_params())  # the first stage to run finds a mistake in params.yaml or the prompts file
    environment = describe()
    write_json(arguments.output, environment)
    machine = environment["machine"]
    print(
        f"environment: {machine['cpu']}, {machine['physical_cores']} cores, threads used: {environment['threads']}, "
        f"{machine['memory_gib']} GiB, {machine['gpu'] or 'no GPU'}, torch {environment['software']['torch']}, "
        f"fingerprint {environment['fingerprint']}"
    )


if __name__ == "__main__":
    run_stage(main)
