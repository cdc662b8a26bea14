"""The options of back end `gguf`."""

from typing import ClassVar, Literal

from stages.lib.project.variant import DTYPE_BITS, Variant


class Options(Variant):
    """Linear layers in the blocks of GGUF."""

    packages: ClassVar[tuple[str, ...]] = ("gguf",)

    backend: Literal["gguf"]
    weights: Literal["q8_0", "q5_k", "q4_k", "q4_0"]
    activations: Literal["none"] = "none"
    granularity: Literal["group"] = "group"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @property
    def scale_group_size(self) -> int:
        """In all of its types."""
        return 32

    @property
    def bits_per_weight(self) -> float:
        """Scales lie in the blocks."""
        return DTYPE_BITS[self.weights]

    @property
    def scales_beside(self) -> bool:
        """They do not."""
        return False
