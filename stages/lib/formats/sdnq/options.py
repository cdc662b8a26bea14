"""The options of back end `sdnq`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.lib.project.variant import Variant

GROUP_SIZE = 64  # inputs of an output channel that share a scale of four-bit weights
INTEGER_CAPABILITY = 7.5  # the compute capability from which a GPU multiplies INT8
# With one of these a processor adds products of INT8 in 32 bits; without, in 16, which overflow.
INTEGER_SETS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


class Options(Variant):
    """Linear layers and convolutions by SDNQ, on a CPU or a GPU."""

    packages: ClassVar[tuple[str, ...]] = ("sdnq",)

    backend: Literal["sdnq"]
    weights: Literal["int8", "uint4"]
    activations: Literal["none", "int8"] = "none"
    granularity: Literal["channel", "group"] = "channel"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    least_weights: Annotated[int, Field(ge=0, le=2**40, description="no layer has so many")] = 16384

    @model_validator(mode="before")
    @classmethod
    def _what_weights_imply(cls, keys: Any) -> Any:
        return {"granularity": "group", **keys} if isinstance(keys, dict) and keys.get("weights") == "uint4" else keys

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        granularity = "group" if self.weights == "uint4" else "channel"
        if self.granularity != granularity:
            raise ValueError(
                f"granularity '{self.granularity}': weights '{self.weights}' have one scale per {granularity} here: "
                "leave the key out"
            )
        if self.weights == "uint4" and self.activations != "none":
            raise ValueError(
                f"activations '{self.activations}': weights 'uint4' would be rounded to INT8 at each call: set "
                "`weights: int8`, or `activations: none`"
            )
        return self

    @property
    def scale_group_size(self) -> int | None:
        """Of four bits."""
        return GROUP_SIZE if self.weights == "uint4" else None

    @property
    def bits_per_weight(self) -> float:
        """With a group's share of its scale and its zero point, both FP32."""
        return 4 + 2 * 32 / GROUP_SIZE if self.weights == "uint4" else 8

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """Integer products on a GPU that has none, or on a processor where they overflow."""
        if self.activations == "none":
            return None
        capability = machine["gpu_compute_capability"]
        if device == "cpu" or capability is None:
            safe = set(INTEGER_SETS) & set(machine["instruction_sets"])
            return None if safe else {"reason": "integers_overflow", "sets": list(INTEGER_SETS)}
        if capability < INTEGER_CAPABILITY:
            return {"reason": "needs_capability", "capability": INTEGER_CAPABILITY, "dtype": self.weights}
        return None
