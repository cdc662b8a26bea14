"""Layers as SDNQ quantizes them, and its layers around what was stored of them."""

import os
from collections.abc import Collection

# Read at its import, here the first: no compiled functions and no kernels of its own (see the package).
os.environ |= {"SDNQ_USE_TORCH_COMPILE": "0", "SDNQ_USE_TRITON_MM": "0", "SDNQ_USE_OPENVINO_MM": "0"}

import torch  # noqa: E402
from sdnq import SDNQConfig, sdnq_post_load_quant, sdnq_quantize_layer  # noqa: E402
from sdnq.loader import post_process_model  # noqa: E402
from torch import nn  # noqa: E402

from stages.lib.formats.shared.linears import called_linears  # noqa: E402
from stages.lib.project.params import Variant  # noqa: E402

# What is stored of a layer beside its weight, as SDNQ calls it.
BESIDE = {"int8": ("scale",), "uint4": ("scale", "zero_point")}


def arguments_of(variant: Variant) -> dict:
    """What SDNQ is asked for."""
    integers = variant.activations == "int8"
    return {
        "weights_dtype": variant.weights,
        "group_size": variant.scale_group_size or -1,  # a row
        "quant_conv": True,
        "minimum_allowed_numel": variant.least_weights,
        "use_quantized_matmul": integers,
        "use_quantized_matmul_conv": integers,
    }


def quantize_network(network: nn.Module, variant: Variant, spared: Collection[str], dtype: torch.dtype) -> list[str]:
    """Quantize an FP32 network in place, but for the layers `spared`; the names of those that were."""
    callable_linears = called_linears(network)
    left = [
        name
        for name, module in network.named_modules()
        if name in spared or (isinstance(module, nn.Linear) and name not in callable_linears)
    ]
    patterns = [f"{name}.weight" for name in left]
    sdnq_post_load_quant(network, **arguments_of(variant), modules_to_not_convert=patterns, torch_dtype=dtype)
    return [name for name, module in network.named_modules() if hasattr(module, "sdnq_dequantizer")]


def built(
    layer: nn.Module, variant: Variant, compute: torch.dtype, weight: torch.Tensor, *beside: torch.Tensor
) -> nn.Module:
    """SDNQ's layer in place of `layer`, whose weight has no memory, around what was stored."""
    arguments = arguments_of(variant)
    if len(beside[0]) > 1:  # a scale for each row: SDNQ multiplies this one as floating point, and did not turn it
        arguments |= {"use_quantized_matmul": False, "use_quantized_matmul_conv": False}
    config = SDNQConfig(**arguments)
    found, _ = sdnq_quantize_layer(layer, config, torch_dtype=compute)
    found.weight = nn.Parameter(weight, requires_grad=False)
    for name, tensor in zip(BESIDE[variant.weights], beside, strict=True):
        # no parameter: it stays FP32 whatever the network computes in
        delattr(found, name)
        found.register_buffer(name, tensor, persistent=False)
    return post_process_model(nn.Sequential(found))[0]
