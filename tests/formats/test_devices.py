"""Which device and which arithmetic a variant gets."""

import pytest
import torch

from stages.lib.formats.shared import devices
from stages.lib.formats.shared.devices import compute_dtype, resolve_device
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant, variant_of


def _variant(**keys) -> Variant:
    return variant_of(**{"name": "v", "label": "V", "backend": "torch", "weights": "float16", **keys})


def test_a_variant_decides_before_params_yaml(monkeypatch):
    """`device: cpu` of a variant holds on a machine with a GPU, and auto takes the GPU."""
    monkeypatch.setattr(devices, "GPU_DRIVERS", ("/",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("cpu", "cuda") == "cpu"
    assert resolve_device("auto", "auto") == "cuda"
    assert resolve_device("auto", "cpu") == "cpu"


def test_a_device_that_is_not_there_is_one_clear_message(monkeypatch):
    """No silent fallback to the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", "auto") == "cpu"
    with pytest.raises(UserError, match="device of the variant is 'cuda'.*auto"):
        resolve_device("cuda", "auto")
    with pytest.raises(UserError, match="device is 'cuda'"):
        resolve_device("auto", "cuda")


@pytest.mark.parametrize(
    ("keys", "device", "expected"),
    [
        ({}, "cpu", "float32"),
        ({}, "cuda", "float16"),
        ({"compute": "float16"}, "cpu", "float16"),
        ({"weights": "bfloat16"}, "cpu", "bfloat16"),
        ({"weights": "bfloat16", "compute": "float32"}, "cpu", "float32"),
        ({"weights": "float32"}, "cuda", "float32"),
        ({"weights": "int8", "simulated": True}, "cpu", "float32"),
        ({"backend": "torchao", "weights": "int8"}, "cpu", "float32"),
        ({"backend": "torchao", "weights": "int8"}, "cuda", "float32"),
        ({"backend": "torchao", "weights": "int8", "compute": "bfloat16"}, "cuda", "bfloat16"),
        ({"backend": "torchao", "weights": "float8"}, "cuda", "bfloat16"),
        ({"weights": "int8", "simulated": True}, "cuda", "float16"),
        (
            {
                "backend": "torch_dynamic",
                "weights": "int8",
                "activations": "int8",
                "device": "cpu",
                "compute": "float32",
            },
            "cpu",
            "float32",
        ),
    ],
)
def test_arithmetic_is_what_the_device_can_do(keys, device, expected):
    """FP16 storage on a CPU means FP32 arithmetic, and only there."""
    assert compute_dtype(_variant(**keys), device) == expected


def test_a_gpu_that_only_emulates_bf16_computes_in_fp32(monkeypatch):
    """A T4 must not be timed on emulated arithmetic by default."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert compute_dtype(_variant(weights="bfloat16"), "cuda") == "float32"
