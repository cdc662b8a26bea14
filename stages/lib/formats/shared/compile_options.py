"""The options of back ends that run networks under torch.compile."""

from typing import Literal

from stages.lib.project.variant import Variant

# torch.compile: not, in the usual way, and in two modes that record what a GPU is asked to do, and replay it.
Compile = Literal[False, True, "reduce-overhead", "max-autotune"]


def check_compile(variant: Variant) -> None:
    """ValueError where a mode that only a GPU has is asked of the CPU."""
    if isinstance(variant.compile_mode, str) and variant.device == "cpu":
        raise ValueError(
            f"compile '{variant.compile_mode}' records what a GPU is asked to do: use true, or `device: cuda`"
        )
