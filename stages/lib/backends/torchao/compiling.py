"""Networks under torch.compile."""

import shutil

import torch
from torch import nn

from stages.lib.errors import UserError
from stages.lib.params import PARAMS_FILE, Variant


def require_compiler(variant: Variant, device: str) -> None:
    """Raise a UserError where torch.compile cannot make kernels: it needs a C++ compiler, and Triton on a GPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    try:
        compiler = get_cpp_compiler()
    except InvalidCxxCompiler:
        compiler = ""
    missing = "" if shutil.which(compiler) else "a C++ compiler such as g++"
    if device == "cuda" and not has_triton():
        missing = "Triton"
    if missing:
        raise UserError(
            f"{PARAMS_FILE}: 'variants.{variant.name}.compile' is true, which needs {missing}, not found here: install "
            "it, or set `compile: false`"
        )


def compile_network(network: nn.Module, component: str) -> None:
    """Let the parts of a network that drawing runs be compiled in their first call, in place.

    Only `forward` is: the casts that meet a network at its door stay outside, and so does a clock around it. Shapes are
    taken as they come; another batch is compiled anew.
    """
    part = {"vae": "decoder", "safety_checker": "vision_model"}.get(component)
    target = network if part is None else getattr(network, part)
    target.forward = torch.compile(target.forward, dynamic=False)
