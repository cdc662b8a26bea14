"""Networks under torch.compile."""

import shutil
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Variant

# The part of a decoder or a safety checker in which it does its work; the rest of them is Python.
COMPILED_PARTS = ("decoder", "vision_model")


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
        key, value = f"variants.{variant.name}.compile", str(variant.compile).lower()
        raise UserError(
            f"{PARAMS_FILE}: '{key}' is {value}, which needs {missing}, "
            "not found here: install it, or set `compile: false`"
        )


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks that a network repeats: those that its class lists as such, else the items of its lists of modules."""
    kinds = getattr(network, "_repeated_blocks", None)
    if kinds:
        return [module for module in network.modules() if type(module).__name__ in kinds]
    lists = (child for child in network.children() if isinstance(child, nn.ModuleList))
    return [block for blocks in lists if len(blocks) > 2 for block in blocks]


def compile_network(network: nn.Module, mode: bool | str = True) -> None:
    """Let the part of a network that generation runs be compiled in its first call, in place.

    Only `forward` is, or with mode "blocks" each of its repeated blocks, which are alike and so compiled once; a
    network without such is compiled whole. The casts that meet a network at its door stay outside, and so does a clock
    around it. Shapes are taken as they come; another batch is compiled anew. Other modes are True and torch.compile's
    that record a CUDA graph; on a CPU, where a variant may be loaded only to be looked at, they record nothing. What a
    recorded graph answers lies where its next replay writes: a copy is given out.
    """
    parts = (getattr(network, name, None) for name in COMPILED_PARTS)
    target = next((part for part in parts if isinstance(part, nn.Module)), network)
    if mode == "blocks" and (blocks := repeated_blocks(target)):
        for block in blocks:
            block.compile(dynamic=False)
        return
    if mode in (True, "blocks"):
        target.forward = torch.compile(target.forward, dynamic=False)
        return
    compiled = torch.compile(target.forward, dynamic=False, mode=mode)

    def forward(*arguments: Any, **options: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        answer = compiled(*arguments, **options)
        return tree_map(lambda value: value.clone() if isinstance(value, torch.Tensor) else value, answer)

    target.forward = forward
