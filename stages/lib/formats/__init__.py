"""The ways of making and running a quantized model, behind one small face.

A back end is a package with three functions:

- `quantize(base: Path, variant: Variant, out: Path) -> None`: read the pipeline folder `base`, write the variant
  into the existing empty folder `out`; everything `load` needs is inside `out`.
  With `calibrated`, and rounded activations, it is given `calibration` as well:
  stages.lib.models.calibration.read_inputs().
- `load(folder: Path, variant: Variant, device: str) -> StableDiffusionPipeline`: rebuild it on `device`
  ("cpu" or "cuda").
- `inventory(folder: Path, variant: Variant) -> list[StoredTensor]`: what the folder stores
  (stages.lib.models.inventory).

And, only where a runtime other than PyTorch computes, so that PyTorch cannot see what it multiplies, a fourth:

- `executed_work(folder: Path, variant: Variant) -> list[dict]`: what the loaded networks multiply in, per component,
  graph, operator and dtype, from the runtime's own description of its kernels, never from what was asked for. Keys and
  units are those of stages.lib.formats.shared.executed_work.ExecutedWork, without `calls`.

A new back end is one package and one entry in `BACKENDS`. What keeps a variant from running here (a package that is not
installed, hardware) is told by its entry and stages.lib.formats.shared.availability, before any of them is called.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType


@dataclass(frozen=True)
class Backend:
    """What a back end can do and needs, known without importing it. The first of each tuple is the default.

    `operators`: those whose weights always get an integer format, and are checked for it; others are counted as stored.
    `exact`: a regular expression of the weights of those that stay as they are all the same.
    `packages`: what pip installs for it beyond PyTorch and diffusers; optional, a variant without them is left out.
    `gpu_weights`: formats that only a GPU runs, and the compute capability it must have.
    `instruction_sets`: for an arithmetic dtype of `compute` or `schedule`, those of which the processor must have one.

    Memory, for stages.lib.project.memory.check_memory, with some room over what was measured with Stable Diffusion
    v1.5's architecture: `quantize_peak` is what is in memory at most while a variant is made, in FP32 bytes of the
    largest network (`calibrated_peak`: where ranges of activations are taken), and `load_peak` the least that a loaded
    variant takes, in bytes of its files.
    """

    module: str
    weights: tuple[str, ...]
    activations: tuple[str, ...]
    granularity: tuple[str, ...]
    device: tuple[str, ...]
    compute: tuple[str, ...]
    quantize_peak: float
    load_peak: float
    memory_format: tuple[str, ...] = ("contiguous",)
    compile: tuple[bool | str, ...] = (False,)
    convolutions: tuple[str, ...] = ("compute",)
    calibrated: bool = False
    calibrated_peak: float = 0.0
    operators: tuple[str, ...] = ()
    exact: str = ""
    packages: tuple[str, ...] = ()
    gpu_weights: Mapping[str, float] = field(default_factory=dict)
    instruction_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load_module(self) -> ModuleType:
        """Import the module that implements this back end."""
        return importlib.import_module(self.module)


# Not, in the usual way, and in two modes of torch.compile that record what a GPU is asked to do, and replay it.
COMPILE = (False, True, "reduce-overhead", "max-autotune")
# The extensions of which a processor must have one to multiply in BF16, as Linux names them.
BFLOAT16_SETS = ("avx512_bf16", "amx_bf16", "bf16")

BACKENDS = {
    "torch": Backend(
        module="stages.lib.formats.torch.backend",
        weights=("float32", "float16", "bfloat16", "int8", "int6", "int4"),
        activations=("none", "int8", "int6", "int4"),
        granularity=("channel", "tensor", "group"),
        device=("auto", "cpu", "cuda"),
        compute=("auto", "float32", "float16", "bfloat16", "tensorfloat32"),
        memory_format=("contiguous", "channels_last"),
        compile=COMPILE,
        quantize_peak=1.6,
        load_peak=1.0,
        calibrated=True,
        calibrated_peak=2.6,
    ),
    "torch_dynamic": Backend(
        module="stages.lib.formats.torch_dynamic.backend",
        weights=("int8",),
        activations=("int8",),
        granularity=("tensor", "channel"),
        device=("cpu",),
        compute=("float32",),
        operators=("Linear",),
        quantize_peak=1.3,
        load_peak=1.0,
    ),
    "openvino": Backend(
        module="stages.lib.formats.openvino.backend",
        weights=("float32", "float16", "int8"),
        activations=("none", "int8"),
        granularity=("channel",),
        device=("cpu",),
        compute=("float32", "bfloat16", "mixed"),
        quantize_peak=2.0,
        load_peak=1.0,
        calibrated=True,
        calibrated_peak=4.5,
        operators=("Conv2d", "Linear", "Embedding"),
        exact=r"(decoder\.)?conv_(in|out)\.weight",
        packages=("openvino", "nncf"),
        instruction_sets={"bfloat16": BFLOAT16_SETS, "mixed": BFLOAT16_SETS},
    ),
    "onnxruntime": Backend(
        module="stages.lib.formats.onnxruntime.backend",
        weights=("float32", "int8"),
        activations=("none", "int8"),
        granularity=("channel",),
        device=("cpu",),
        compute=("float32",),
        quantize_peak=2.0,
        load_peak=1.0,
        calibrated=True,
        calibrated_peak=4.5,
        operators=("Conv2d", "Linear", "Embedding"),
        packages=("onnx", "onnxruntime"),
    ),
    "torchao": Backend(
        module="stages.lib.formats.torchao.backend",
        weights=("int8", "float8"),
        activations=("none", "int8", "float8"),
        granularity=("channel",),
        device=("auto", "cpu", "cuda"),
        compute=("auto", "float32", "bfloat16", "float16"),
        quantize_peak=1.6,
        load_peak=1.0,
        packages=("torchao",),
        gpu_weights={"float8": 8.9},
        compile=COMPILE,
        convolutions=("compute", "int8"),
    ),
}
