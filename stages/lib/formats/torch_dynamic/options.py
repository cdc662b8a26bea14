"""The options of back end `torch_dynamic`."""

from typing import ClassVar, Literal

from stages.lib.project.variant import Variant


class Options(Variant):
    """PyTorch's dynamic quantization of Linear layers on the CPU."""

    can_spare: ClassVar[bool] = False

    backend: Literal["torch_dynamic"]
    weights: Literal["int8"]
    activations: Literal["int8"] = "int8"
    granularity: Literal["tensor", "channel"] = "channel"
    device: Literal["cpu"] = "cpu"
    compute: Literal["float32"] = "float32"
