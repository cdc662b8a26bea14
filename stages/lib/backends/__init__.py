"""The ways of making and running a quantized model, behind one small face.

A back end is a package with three functions:

- `quantize(base: Path, variant: Variant, out: Path) -> None`: read the pipeline folder `base`, write the variant
  into the existing empty folder `out`; everything `load` needs is inside `out`.
  With `calibrated`, and rounded activations, it is given `calibration` as well: stages.lib.calibration.read_inputs().
- `load(folder: Path, variant: Variant, device: str) -> StableDiffusionPipeline`: rebuild it on `device`
  ("cpu" or "cuda").
- `inventory(folder: Path, variant: Variant) -> list[StoredTensor]`: what the folder stores (stages.lib.inventory).

A new back end is one package and one entry in `BACKENDS`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Backend:
    """What a back end can do, known without importing it. The first of each tuple is the default."""

    module: str
    weights: tuple[str, ...]
    activations: tuple[str, ...]
    granularity: tuple[str, ...]
    device: tuple[str, ...]
    compute: tuple[str, ...]
    calibrated: bool = False

    def load_module(self) -> ModuleType:
        """Import the module that implements this back end."""
        return importlib.import_module(self.module)


BACKENDS = {
    "torch": Backend(
        module="stages.lib.backends.torch",
        weights=("float32", "float16", "bfloat16", "int8", "int6", "int4"),
        activations=("none", "int8", "int6", "int4"),
        granularity=("channel", "tensor", "group"),
        device=("auto", "cpu", "cuda"),
        compute=("auto", "float32", "float16", "bfloat16"),
        calibrated=True,
    ),
    "torch_dynamic": Backend(
        module="stages.lib.backends.torch_dynamic",
        weights=("int8",),
        activations=("int8",),
        granularity=("tensor", "channel"),
        device=("cpu",),
        compute=("float32",),
    ),
    "openvino": Backend(
        module="stages.lib.backends.openvino",
        weights=("float32", "float16", "int8"),
        activations=("none", "int8"),
        granularity=("channel",),
        device=("cpu",),
        compute=("float32", "bfloat16"),
        calibrated=True,
    ),
    "onnxruntime": Backend(
        module="stages.lib.backends.onnxruntime",
        weights=("float32", "int8"),
        activations=("none", "int8"),
        granularity=("channel",),
        device=("cpu",),
        compute=("float32",),
        calibrated=True,
    ),
    "torchao": Backend(
        module="stages.lib.backends.torchao",
        weights=("int8", "float8"),
        activations=("none", "int8", "float8"),
        granularity=("channel",),
        device=("auto", "cpu", "cuda"),
        compute=("auto", "float32", "bfloat16", "float16"),
    ),
}
