"""The ways of making and running a quantized model, behind one small face.

A back end is a package with three functions:

- `quantize(base: Path, variant: Variant, out: Path) -> None`: read the pipeline folder `base`, write the variant
  into the existing empty folder `out`; everything `load` needs is inside `out`.
  With `calibrated`, and INT8 activations, it is given `calibration` as well: stages.lib.calibration.read_inputs().
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
    """What a back end can do, known without importing it. The first of each tuple is the default.

    Memory, for stages.lib.memory.check_memory, with some room over what was measured with Stable Diffusion v1.5's
    architecture: `quantize_peak` is what is in memory at most while a variant is made, in FP32 bytes of the largest
    network (`calibrated_peak`: where ranges of activations are taken), and `load_peak` the least that a loaded variant
    takes, in bytes of its files.
    """

    module: str
    weights: tuple[str, ...]
    activations: tuple[str, ...]
    granularity: tuple[str, ...]
    device: tuple[str, ...]
    compute: tuple[str, ...]
    quantize_peak: float
    load_peak: float
    calibrated: bool = False
    calibrated_peak: float = 0.0

    def load_module(self) -> ModuleType:
        """Import the module that implements this back end."""
        return importlib.import_module(self.module)


BACKENDS = {
    "torch": Backend(
        module="stages.lib.backends.torch",
        weights=("float32", "float16", "bfloat16", "int8"),
        activations=("none",),
        granularity=("channel", "tensor"),
        device=("auto", "cpu", "cuda"),
        compute=("auto", "float32", "float16", "bfloat16"),
        quantize_peak=1.6,
        load_peak=1.0,
    ),
    "torch_dynamic": Backend(
        module="stages.lib.backends.torch_dynamic",
        weights=("int8",),
        activations=("int8",),
        granularity=("tensor", "channel"),
        device=("cpu",),
        compute=("float32",),
        quantize_peak=1.3,
        load_peak=1.0,
    ),
    "openvino": Backend(
        module="stages.lib.backends.openvino",
        weights=("float32", "float16", "int8"),
        activations=("none", "int8"),
        granularity=("channel",),
        device=("cpu",),
        compute=("float32", "bfloat16"),
        quantize_peak=2.0,
        load_peak=1.0,
        calibrated=True,
        calibrated_peak=4.5,
    ),
}
