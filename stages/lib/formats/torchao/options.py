"""The options of back end `torchao`, and what they need of the GPU."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.lib.formats.shared.compile_options import Compile, check_compile
from stages.lib.project.variant import GROUP_SCALE_BITS, Variant

# The compute capability from which a GPU multiplies FP8, or unpacks four bits beside its tensor cores.
CAPABILITIES = {"float8": 8.9, "int4": 8.0}
GROUP_SIZE = 128


class Options(Variant):
    """Linear layers by torchao, on a CPU or a GPU."""

    packages: ClassVar[tuple[str, ...]] = ("torchao",)

    backend: Literal["torchao"]
    weights: Literal["int8", "float8", "int4"]
    activations: Literal["none", "int8", "float8"] = "none"
    granularity: Literal["channel", "tensor", "group"] = "channel"
    group_size: Literal[32, 64, 128, 256] = GROUP_SIZE
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: Compile = False
    least_width: Annotated[int, Field(ge=0, le=2**20, description="no layer is so wide")] = 0
    convolutions: Literal["compute", "int8"] = "compute"

    @model_validator(mode="before")
    @classmethod
    def _what_weights_imply(cls, keys: Any) -> Any:
        return {"granularity": "group", **keys} if isinstance(keys, dict) and keys.get("weights") == "int4" else keys

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        if self.activations == "float8" and self.weights != "float8":
            raise ValueError("activations 'float8' need weights of that format: set `weights: float8`")
        if self.activations == "float8" and self.compute not in ("auto", "bfloat16"):
            raise ValueError(f"compute '{self.compute}': products of float8 come out as bfloat16: use auto or bfloat16")
        if self.weights == "int4" and (self.activations != "none" or self.compute not in ("auto", "bfloat16")):
            raise ValueError(
                "weights 'int4' are multiplied with bfloat16: use activations none, compute auto or bfloat16"
            )
        if (self.weights == "int4") != (self.granularity == "group"):
            raise ValueError(
                f"granularity '{self.granularity}': 'group' goes with weights 'int4', and they with it alone: leave "
                "the key out"
            )
        if "group_size" in self.model_fields_set and self.weights != "int4":
            raise ValueError(f"`group_size` goes with weights 'int4', not '{self.weights}': remove it")
        if self.granularity == "tensor" and self.activations != "float8":
            raise ValueError("granularity 'tensor' goes with activations 'float8': set those, or use 'channel'")
        if self.needs_gpu and self.device == "cpu":
            raise ValueError(
                f"weights '{self.weights}' need a GPU of compute capability {CAPABILITIES[self.weights]} or more: "
                "set `device: cuda`"
            )
        if self.convolutions == "int8" and self.weights != "int8":
            raise ValueError(f"convolutions 'int8' go with integer weights, not '{self.weights}': set `weights: int8`")
        check_compile(self)
        return self

    @property
    def needs_calibration(self) -> bool:
        """To tell how many rows a layer is given."""
        return self.activations == "int8"

    @property
    def needs_gpu(self) -> bool:
        """FP8 and INT4 do."""
        return self.weights in CAPABILITIES

    @property
    def scale_group_size(self) -> int | None:
        """Of INT4."""
        return self.group_size if self.weights == "int4" else None

    @property
    def bits_per_weight(self) -> float:
        """With a group's share of its scale and its zero point."""
        return 4 + 2 * GROUP_SCALE_BITS / self.group_size if self.weights == "int4" else super().bits_per_weight

    @property
    def compile_mode(self) -> bool | str:
        """As `compile` says."""
        return self.compile

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """FP8 or INT4 on a CPU, or on a GPU that lacks it."""
        needed = CAPABILITIES.get(self.weights)
        if needed and (device == "cpu" or (machine["gpu_compute_capability"] or 0) < needed):
            return {"reason": "needs_capability", "capability": needed, "dtype": self.weights}
        return None
