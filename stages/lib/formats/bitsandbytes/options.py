"""The options of back end `bitsandbytes`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from stages.lib.project.variant import Variant

BLOCK = 64  # consecutive weights that share a largest magnitude, bitsandbytes' default
INTEGER_CAPABILITY = 7.5  # the compute capability from which a GPU multiplies INT8


class Options(Variant):
    """Linear layers by bitsandbytes, on a CPU or a GPU."""

    packages: ClassVar[tuple[str, ...]] = ("bitsandbytes",)

    backend: Literal["bitsandbytes"]
    weights: Literal["nf4", "fp4", "int8"]
    activations: Literal["none", "int8"] = "none"
    granularity: Literal["group", "channel"] = "group"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _what_weights_imply(cls, keys: Any) -> Any:
        if isinstance(keys, dict) and keys.get("weights") == "int8":
            return {"activations": "int8", "granularity": "channel", **keys}
        return keys

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        granularity = "channel" if self.weights == "int8" else "group"
        if self.granularity != granularity:
            raise ValueError(
                f"granularity '{self.granularity}': weights '{self.weights}' have one scale per {granularity} in "
                "bitsandbytes: leave the key out"
            )
        if self.weights == "int8" and self.activations == "none":
            raise ValueError("activations 'none': LLM.int8 rounds activations as well: leave the key out")
        return self

    @property
    def scale_group_size(self) -> int | None:
        """Blocks of four-bit weights."""
        return None if self.weights == "int8" else BLOCK

    @property
    def bits_per_weight(self) -> float:
        """With the share of a block's FP32 magnitude."""
        return 8 if self.weights == "int8" else 4 + 32 / BLOCK

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """INT8 on a GPU that does not multiply it."""
        capability = machine["gpu_compute_capability"]
        if self.weights == "int8" and device != "cpu" and capability is not None and capability < INTEGER_CAPABILITY:
            return {"reason": "needs_capability", "capability": INTEGER_CAPABILITY, "dtype": self.weights}
        return None
