"""The options of back end `onnxruntime`."""

from typing import ClassVar, Literal

from pydantic import model_validator

from stages.lib.project.variant import Variant


class Options(Variant):
    """ONNX Runtime on the CPU; INT8 by its static quantization."""

    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    can_spare: ClassVar[bool] = False

    backend: Literal["onnxruntime"]
    weights: Literal["float32", "int8"]
    activations: Literal["none", "int8"] = "none"
    granularity: Literal["channel"] = "channel"
    device: Literal["cpu"] = "cpu"
    compute: Literal["float32"] = "float32"

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Options":
        if (self.weights == "int8") != (self.activations == "int8"):
            raise ValueError(
                "back end 'onnxruntime' rounds weights and activations together: set both to int8, or neither"
            )
        return self

    @property
    def needs_calls(self) -> bool:
        """To trace networks with."""
        return True

    @property
    def needs_calibration(self) -> bool:
        """For ranges of activations."""
        return self.activations != "none"
