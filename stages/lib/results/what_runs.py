"""Which format runs on which machine, and where it computes faster than FP32: known before anything is made.

What cannot run is asked of each back end's options, as on this machine. What gains nothing is told by the arithmetic:
a format is faster by its arithmetic only where the machine multiplies in it at once (FASTER). Both are statements of
documents, not measurements; SOURCES names them. Small models may still gain nothing: overhead hides the arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.lib.formats.shared.availability import find_obstacle
from stages.lib.formats.shared.devices import compute_dtype
from stages.lib.project.params import Params, Variant, variant_of

SOURCES = {
    "cutlass": "https://docs.nvidia.com/cutlass/latest/media/docs/cpp/functionality.html",
    "transformer-engine": "https://nvidia.github.io/TransformerEngine/support_matrix.html",
    "openvino": "https://docs.openvino.ai/2024/openvino-workflow/running-inference/inference-devices-and-modes/"
    "cpu-device.html",
    "onednn": "https://uxlfoundation.github.io/oneDNN/dev_guide_data_types.html",
    "nunchaku": "https://github.com/vladmandic/sdnext/wiki/Nunchaku",
    "transformers-nvfp4": "https://huggingface.co/docs/transformers/v5.17.0/quantization/nvfp4",
    "tensorrt": "https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html",
    "core-ml": "https://apple.github.io/coremltools/docs-guides/source/opt-overview.html",
    "sdnq": "https://github.com/Disty0/sdnq",
    "measured": "reports/machines",
}
# Arithmetic that is faster than that of FP32: from which compute capability, or with one of which instruction sets.
FASTER: dict[str, tuple[float | None, tuple[str, ...], str, str]] = {
    "float16": (7.0, (), "cutlass", "measured"),
    "tensorfloat32": (8.0, (), "cutlass", ""),
    "bfloat16": (8.0, ("avx512_bf16", "amx_bf16", "bf16"), "transformer-engine", "openvino"),
    "int8": (7.5, ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"), "cutlass", "onednn"),
    "float8": (8.9, (), "transformer-engine", ""),
}


@dataclass(frozen=True)
class Card:
    """A machine that people have: `sets` of a processor's instructions, or a GPU's compute capability."""

    label: str
    sets: tuple[str, ...] = ()
    capability: float | None = None

    def described(self) -> dict[str, Any]:
        """The part `machine` of an environment.json, as far as formats ask for it."""
        gpu = self.label if self.capability else None
        return {"gpu": gpu, "gpu_compute_capability": self.capability, "instruction_sets": list(self.sets)}


CARDS = (
    Card("AVX2", ("avx2",)),
    Card("AVX512 VNNI", ("avx2", "avx512f", "avx512_vnni")),
    Card("AVX512 BF16", ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")),
    Card("AMX", ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")),
    Card("Apple M", ("asimd", "asimddp")),
    Card("Turing 7.5", capability=7.5),
    Card("Ampere 8.6", capability=8.6),
    Card("Ada 8.9", capability=8.9),
    Card("Hopper 9.0", capability=9.0),
    Card("Blackwell 10.0", capability=10.0),
)
RUNS, NO_GAIN, CANNOT, ON_ITS_CPU = "runs", "no_gain", "cannot", "on_its_cpu"


@dataclass(frozen=True)
class Foreign:
    """A format or runtime that this project does not bring; the code of a `reason`, and who says so."""

    label: str
    reason: str
    source: str


FOREIGN = (
    Foreign("MXFP8", "blackwell", "transformer-engine"),
    Foreign("NVFP4", "blackwell", "transformers-nvfp4"),
    Foreign("SVDQuant", "not_hopper", "nunchaku"),
    Foreign("TensorRT", "not_on_pypi", "tensorrt"),
    Foreign("SDNQ", "your_own", "sdnq"),
    Foreign("Core ML", "macos", "core-ml"),
)


# Variants of back ends that a user installs and then pastes into params.yaml (README.md), shown until they stand there.
OPTIONAL = {
    "sdnq-int8": {"label": "INT8 SDNQ", "backend": "sdnq", "weights": "int8", "activations": "int8"},
    "sdnq-uint4": {"label": "UINT4 SDNQ", "backend": "sdnq", "weights": "uint4"},
}


@dataclass(frozen=True)
class Verdict:
    """What a format does on a machine: `state`, the `arithmetic` of its products, `obstacle` where it cannot run.

    `source` is the key of SOURCES that says so; none where the back end's own options do.
    """

    state: str
    arithmetic: str = ""
    obstacle: Mapping[str, Any] | None = None
    source: str = ""


def card_of(machine: Mapping[str, Any], label: str) -> Card:
    """The machine of an environment.json as one of the table's."""
    return Card(label, tuple(machine["instruction_sets"]), machine["gpu_compute_capability"])


def verdict(variant: Variant, card: Card, default_device: str = "auto") -> Verdict:
    """What `variant` does on `card`, were every package installed there."""
    device = default_device if variant.device == "auto" else variant.device
    device = ("cuda" if card.capability else "cpu") if device == "auto" else device
    if card.capability and device == "cpu":
        return Verdict(ON_ITS_CPU)
    obstacle = find_obstacle(variant, device, card.described(), {})
    if obstacle:
        return Verdict(CANNOT, obstacle=obstacle)
    arithmetic = _arithmetic(variant, device, card)
    capability, sets, on_gpu, on_cpu = FASTER.get(arithmetic, (None, (), "", ""))
    if device == "cuda":
        fast = capability is not None and (card.capability or 0) >= capability
    else:
        fast = bool(set(sets) & set(card.sets))
    return Verdict(RUNS if fast else NO_GAIN, arithmetic, source=on_gpu if device == "cuda" else on_cpu)


def _arithmetic(variant: Variant, device: str, card: Card) -> str:
    """What products are computed in, as `compute: auto` decides on such a machine."""
    if variant.simulated:
        return "float32"
    if variant.activations in ("int8", "float8"):
        return variant.activations
    return "bfloat16" if variant.compute == "mixed" else compute_dtype(variant, device, card.capability)


def what_runs(params: Params, here: Mapping[str, Any]) -> tuple[tuple[Card, ...], dict[str, list[Verdict]]]:
    """The machines, this one first, and each variant's verdict on each of them, by its name."""
    cards = (card_of(here, "here"), *CARDS)
    return cards, {
        name: [verdict(variant, card, params.device) for card in cards]
        for name, variant in shown_variants(params).items()
    }


def shown_variants(params: Params) -> dict[str, Variant]:
    """The variants of params.yaml, and the optional ones."""
    return {**params.variants} | {
        name: variant_of(name=name, **keys) for name, keys in OPTIONAL.items() if name not in params.variants
    }
