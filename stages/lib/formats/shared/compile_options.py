"""The options of back ends that run networks under torch.compile."""

from typing import Literal

from stages.lib.project.variant import Variant

# torch.compile: not, in the usual way, each of a network's repeated blocks by itself, and in two modes that record what
# a GPU is asked to do, and replay it.
RECORDING = ("reduce-overhead", "max-autotune")
Compile = Literal[False, True, "blocks", "reduce-overhead", "max-autotune"]


def check_compile(variant: Variant) -> None:
    """ValueError where a mode that only a GPU has is asked of the CPU."""
    if variant.compile_mode in RECORDING and variant.device == "cpu":
        raise ValueError(
            f"compile '{variant.compile_mode}' records what a GPU is asked to do: use true, or `device: cuda`"
        )
