"""The options of back end `torch`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.lib.formats.shared.compile_options import Compile, check_compile
from stages.lib.project.variant import Variant

TENSORFLOAT32_CAPABILITY = 8.0  # on an older GPU the setting would change nothing


class Options(Variant):
    """Casts and simulated rounding, computed by PyTorch."""

    backend: Literal["torch"]
    weights: Literal["float32", "float16", "bfloat16", "int8", "int6", "int4"]
    activations: Literal["none", "int8", "int6", "int4"] = "none"
    granularity: Literal["channel", "tensor", "group"] = "channel"
    group_size: Annotated[int, Field(ge=2, le=2**20, description="no output channel has so many inputs")] = 64
    compute: Literal["auto", "float32", "float16", "bfloat16", "tensorfloat32"] = "auto"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: Compile = False
    mean_bits: Annotated[float, Field(gt=4, le=8, strict=False, allow_inf_nan=False)] | None = None
    simulated: bool = False

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        if self.compute == "tensorfloat32" and (self.weights, self.device) != ("float32", "cuda"):
            raise ValueError(
                "compute 'tensorfloat32' is how an NVIDIA GPU may multiply float32: set `weights: float32` and "
                "`device: cuda`"
            )
        if self.compute == "tensorfloat32" and self.components is not None:
            raise ValueError("compute 'tensorfloat32' holds for a whole process: leave out `components`")
        if self.granularity == "group" and not self.scaled:
            raise ValueError(f"granularity 'group' shares scales, and weights '{self.weights}' have none: remove it")
        if "group_size" in self.model_fields_set and self.granularity != "group":
            raise ValueError(
                f"`group_size` says how many weights share a scale with `granularity: group`, but granularity is "
                f"'{self.granularity}': set `granularity: group` or remove `group_size`"
            )
        if self.mean_bits is not None and (self.weights != "int4" or len(self.components or ()) != 1):
            raise ValueError(
                "`mean_bits` keeps the layers of the denoiser that suffer most from INT4 in INT8 or FP16: only with "
                "`weights: int4` and `components: [denoiser]`"
            )
        if self.scaled != self.simulated:
            raise ValueError(
                "back end 'torch' only simulates integers: set `simulated: true` with int8, int6, int4 weights and "
                "only with them"
            )
        if self.mean_bits is not None and self.spare:
            raise ValueError("`spare` and `mean_bits` both choose the layers that keep more bits: remove one of them")
        check_compile(self)
        return self

    @property
    def needs_calibration(self) -> bool:
        """For ranges of activations, and to choose the layers that keep more bits."""
        return self.activations != "none" or self.mean_bits is not None

    @property
    def compile_mode(self) -> bool | str:
        """As `compile` says."""
        return self.compile

    @property
    def scale_group_size(self) -> int | None:
        """As `group_size` says, where `granularity` is group."""
        return self.group_size if self.granularity == "group" else None

    @property
    def bits_per_weight(self) -> float:
        """Of mixed layers, the mean that they are allowed."""
        return super().bits_per_weight if self.mean_bits is None else self.mean_bits

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """TF32 on a GPU that lacks it."""
        capability = machine["gpu_compute_capability"] or 0
        if self.compute == "tensorfloat32" and capability < TENSORFLOAT32_CAPABILITY:
            return {"reason": "needs_capability", "capability": TENSORFLOAT32_CAPABILITY, "dtype": self.compute}
        return None
