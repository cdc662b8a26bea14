"""Making a variant: convert each network, let NNCF quantize it, store the graph."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.openvino.conversion import convert, require_packages
from stages.lib.formats.openvino.storage import write_graph, write_manifest
from stages.lib.formats.shared.choice import on_model, write_variant
from stages.lib.formats.shared.graphs.calibration import graph_inputs
from stages.lib.formats.shared.graphs.networks import decision_state
from stages.lib.formats.shared.graphs.tracing import token_count
from stages.lib.models.calibration import Calls, require_calls
from stages.lib.models.components import write_component
from stages.lib.project.params import Variant

if TYPE_CHECKING:
    import openvino

# The first and last convolution of the U-Net and of the decoder: a few thousand weights. Rounding the U-Net's last one
# costs more than rounding all others together (its four channels are the prediction, and nothing averages over them),
# and its first one's input is an image whose noise, towards the end, is finer than a step of INT8.
EXACT_LAYERS = (r".*\.network\.(decoder\.)?conv_(in|out)/.*",)
# The U-Net's layers whose input stays in floating point: the embedding of time, which has one row, and the second
# layer of feed-forward parts, whose input, a product of two activations, has outliers: by far the largest errors.
FLOAT_LAYERS = (r".*\.time_embedding\..*", r".*\.time_emb_proj/.*", r".*\.ff\.net\.2/.*")


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the components of `variant` as OpenVINO graphs into the empty folder `out`.

    `calibration` has calls of each component, and is needed where activations become INT8. A missing package, missing
    calls or a network that cannot be converted is a UserError.
    """
    require_packages("openvino", "nncf")
    variant = on_model(variant, base)
    if variant.activations == "int8":
        require_calls(variant, calibration)

    def convert_network(component: str) -> None:
        model = convert(base, component, token_count(base))
        if component in variant.rounded_components:
            model = compress(quantize_fully(model, graph_inputs(base, component, calibration[component])))
        elif variant.weights == "int8":
            model = compress(model)
        write_graph(model, out, component, half=variant.weights == "float16")
        if component == "safety_checker":
            write_component(out, component, decision_state(base))

    write_variant(base, variant, out, "float32", convert_network)
    write_manifest(out, list(variant.components))


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """NNCF generates bars and tables on standard output."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def compress(model: "openvino.Model") -> "openvino.Model":
    """The same graph with the weights of convolutions, linear layers and embeddings as INT8, symmetric, per channel.

    Weights that already are integers stay as they are, and those of EXACT_LAYERS stay FP32.
    """
    with _quiet_nncf():
        import nncf

        spared = nncf.IgnoredScope(patterns=list(EXACT_LAYERS), validate=False)
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=spared)


def quantize_fully(model: "openvino.Model", inputs: list[dict[str, np.ndarray]]) -> "openvino.Model":
    """The same graph with INT8 weights (per channel) and INT8 activations, whose ranges come from `inputs`.

    EXACT_LAYERS and FLOAT_LAYERS are left as they are, and so is attention: integers make it neither faster nor better.
    Biases are not corrected, as in OpenVINO's own examples for diffusion models: it took a fifth of the time, and made
    images of one format 0.15 dB better and of the other 0.13 dB worse.
    """
    with _quiet_nncf():
        import nncf

        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(
                patterns=[*EXACT_LAYERS, *FLOAT_LAYERS], types=["ScaledDotProductAttention"], validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
