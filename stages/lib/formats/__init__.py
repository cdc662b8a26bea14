"""The ways of making and running a quantized model, behind one small face.

A back end is a package of this one and a line in `BACKENDS`. Its `options.py` holds the class `Options`: the keys of a
variant with their legal values and checks, the packages that it needs and what else may keep it from running here
(stages.lib.project.variant); it is read whenever params.yaml is, and must not import what is heavy. Its `backend.py`
has three functions:

- `quantize(base: Path, variant: Variant, out: Path) -> None`: read the pipeline folder `base`, write the variant
  into the existing empty folder `out`; everything `load` needs is inside `out`.
  Where `variant.needs_calls` it is given `calibration` as well: stages.lib.models.calibration.read_calls().
- `load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline`: rebuild it on `device`
  ("cpu" or "cuda").
- `inventory(folder: Path, variant: Variant) -> list[StoredTensor]`: what the folder stores
  (stages.lib.models.inventory).

A back end usually begins with `shared.choice` (which networks a variant is of, `write_variant`, `load_variant`).
Weights that are neither float32, float16 nor bfloat16 are stored with their scales beside them as `NAME.weight_scale`,
unless the options say otherwise (`scales_beside`).

And, only where a runtime other than PyTorch computes, so that PyTorch cannot see what it multiplies, a fourth:

- `executed_work(pipeline: DiffusionPipeline, components: Sequence[str]) -> list[dict]`: what these networks of a loaded
  pipeline multiply in, per component, graph, operator and dtype, for the shapes of their calls so far, from the
  runtime's own description of its kernels, never from what was asked for. Keys and units are those of
  stages.lib.formats.shared.executed_work.ExecutedWork, without `calls`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Backend:
    """What stages must know of a back end before it runs.

    `operators`: those whose weights always get an integer format, and are checked for it; others are counted as stored.
    `spares_ends`: weights of first and last layers stay as they are all the same.

    Memory, for stages.lib.project.memory.check_memory, with some room over what was measured with Stable Diffusion
    v1.5's architecture: `quantize_peak` is what is in memory at most while a variant is made, in FP32 bytes of the
    largest network (`calibrated_peak`: where it needs calibration), and `load_peak` the least that a loaded variant
    takes, in bytes of its files.
    """

    module: str
    quantize_peak: float
    calibrated_peak: float = 0.0
    load_peak: float = 1.0
    operators: tuple[str, ...] = ()
    spares_ends: bool = False

    def load_module(self) -> ModuleType:
        """Import the module that implements this back end."""
        return importlib.import_module(self.module)


WEIGHTED = ("Conv2d", "Linear", "Embedding")

BACKENDS = {
    "torch": Backend("stages.lib.formats.torch.backend", 1.6, 2.6),
    "torch_dynamic": Backend("stages.lib.formats.torch_dynamic.backend", 1.3, operators=("Linear",)),
    "openvino": Backend("stages.lib.formats.openvino.backend", 2.0, 4.5, operators=WEIGHTED, spares_ends=True),
    "onnxruntime": Backend("stages.lib.formats.onnxruntime.backend", 2.0, 4.5, operators=WEIGHTED),
    "bitsandbytes": Backend("stages.lib.formats.bitsandbytes.backend", 1.6),
    "gguf": Backend("stages.lib.formats.gguf.backend", 1.6),
    "layerwise": Backend("stages.lib.formats.layerwise.backend", 1.6),
    "sdnq": Backend("stages.lib.formats.sdnq.backend", 1.6),
    "torchao": Backend("stages.lib.formats.torchao.backend", 1.6, 1.6),
}
