"""Where a variant runs and which dtype it computes in."""

import os
import shutil
from pathlib import Path

from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant
from stages.lib.project.variant import FLOATS
from stages.lib.project.worker_pool import process_number

# What is there when a driver is: NVIDIA's on Linux, in a container that hides /proc, in the Windows subsystem; AMD's.
GPU_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
BFLOAT16_CAPABILITY = 8.0


def has_cuda() -> bool:
    """Whether PyTorch finds a CUDA device. It is not imported, which takes a second, where there is no driver."""
    if not (any(Path(path).exists() for path in GPU_DRIVERS) or shutil.which("nvidia-smi")):
        return False
    import torch

    return torch.cuda.is_available()


def resolve_device(variant_device: str, params_device: str) -> str:
    """The device a variant runs on, "cpu" or "cuda": its own, else that of params.yaml, else CUDA if there is one.

    Raises UserError where "cuda" is asked for and there is none.
    """
    asked = variant_device if variant_device != "auto" else params_device
    found = "cuda" if asked != "cpu" and has_cuda() else "cpu"
    if asked == "cuda" and found == "cpu":
        key = "device of the variant" if variant_device == "cuda" else "device"
        raise UserError(
            f"{PARAMS_FILE}: {key} is 'cuda', but PyTorch finds no CUDA device here: "
            "set it to 'auto' or 'cpu', or install a PyTorch build and a driver for your GPU"
        )
    return found if asked == "auto" else asked


def gpus_for_process() -> int:
    """How many GPUs this process may share its work out to, at least 1: those here, divided by a launcher's processes.

    Another kind gives other bits: where there are several kinds, it is one.
    """
    import torch

    count = torch.cuda.device_count() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    kinds = {torch.cuda.get_device_name(number) for number in range(count)} if count > 1 else ()
    return count if len(kinds) == 1 else 1


def use_own_gpu(device: str) -> None:
    """Let "cuda" mean a GPU of its own for each process that works on this host."""
    if device == "cuda":
        import torch

        torch.cuda.set_device(process_number() % torch.cuda.device_count())


def native_dtype(stored: str, device: str, capability: float | None = None) -> str:
    """The dtype that weights stored as `stored` are computed in on `device` when nobody asks for another.

    `capability` is that of a GPU; None: of the one that is here. A CPU has no FP16 arithmetic worth its name (measured:
    0.05 of the speed of FP32), and a GPU before BFLOAT16_CAPABILITY only emulates BF16; there the answer is float32.
    Around INT8 it is float32, too; around FP8 and what has fewer bits it is BF16, in which people run them.
    """
    if stored not in FLOATS:
        return "float32" if stored == "int8" else "bfloat16"
    if stored == "float16":
        return "float32" if device == "cpu" else "float16"
    if stored == "bfloat16" and device == "cuda":
        if capability is None:
            import torch

            emulated = not torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            emulated = capability < BFLOAT16_CAPABILITY
        return "float32" if emulated else "bfloat16"
    return stored


def compute_dtype(variant: Variant, device: str, capability: float | None = None) -> str:
    """The arithmetic of the converted components on `device`: float32, tensorfloat32, float16 or bfloat16."""
    return native_dtype(variant.stored_dtype, device, capability) if variant.compute == "auto" else variant.compute


def arithmetic_dtype(compute: str) -> str:
    """The dtype of the tensors that are computed with: TF32 takes FP32 tensors and rounds them inside a product."""
    return "float32" if compute == "tensorfloat32" else compute


def use_tensorfloat32() -> None:
    """Let matrix products and convolutions of FP32 tensors on the GPU run in TF32, in the whole process."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
