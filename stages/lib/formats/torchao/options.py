"""The options of back end `torchao`, and what they need of the GPU."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from stages.lib.formats.shared.compile_options import Compile, check_compile
from stages.lib.project.variant import Variant

FLOAT8_CAPABILITY = 8.9  # the compute capability from which a GPU multiplies FP8


class Options(Variant):
    """Linear layers by torchao, on a CPU or a GPU."""

    packages: ClassVar[tuple[str, ...]] = ("torchao",)

    backend: Literal["torchao"]
    weights: Literal["int8", "float8"]
    activations: Literal["none", "int8", "float8"] = "none"
    granularity: Literal["channel"] = "channel"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Compile = False
    convolutions: Literal["compute", "int8"] = "compute"

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        if self.activations == "float8" and self.weights != "float8":
            raise ValueError("activations 'float8' need weights of that format: set `weights: float8`")
        if self.activations == "float8" and self.compute not in ("auto", "bfloat16"):
            raise ValueError(f"compute '{self.compute}': products of float8 come out as bfloat16: use auto or bfloat16")
        if self.weights == "float8" and self.device == "cpu":
            raise ValueError(
                f"weights 'float8' need a GPU of compute capability {FLOAT8_CAPABILITY} or more: set `device: cuda`"
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
        """FP8 does."""
        return self.weights == "float8"

    @property
    def compile_mode(self) -> bool | str:
        """As `compile` says."""
        return self.compile

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """FP8 on a CPU, or on a GPU that lacks it."""
        if self.needs_gpu and (device == "cpu" or (machine["gpu_compute_capability"] or 0) < FLOAT8_CAPABILITY):
            return {"reason": "needs_capability", "capability": FLOAT8_CAPABILITY, "dtype": self.weights}
        return None
