"""The options of back end `layerwise`."""

from typing import Literal

from stages.lib.project.variant import Variant


class Options(Variant):
    """FP8 storage around arithmetic in floating point."""

    backend: Literal["layerwise"]
    weights: Literal["float8"]
    activations: Literal["none"] = "none"
    granularity: Literal["channel"] = "channel"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @property
    def scaled(self) -> bool:
        """A mere cast has no scales."""
        return False

    @property
    def scales_beside(self) -> bool:
        """Nor are there any on disk."""
        return False
