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
from stages.lib.formats.shared.graphs.graph_call import write_graph_call
from stages.lib.formats.shared.graphs.networks import decision_state, inputs_of
from stages.lib.formats.shared.graphs.tracing import Traced
from stages.lib.models.calibration import Calls, require_calls
from stages.lib.models.calls import EMBED
from stages.lib.models.components import load_component, write_component
from stages.lib.models.families import END_LAYERS, OUTLIER_LAYERS, TIME_LAYERS
from stages.lib.project.params import Variant

if TYPE_CHECKING:
    import openvino

# Names of operations begin with those of their layers. The weights of end layers are not rounded, and the inputs of
# none of these are.
EXACT_LAYERS = (rf".*\.network\.({END_LAYERS})/.*",)
FLOAT_LAYERS = (rf".*\.network\.({TIME_LAYERS}|{OUTLIER_LAYERS})/.*",)


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the components of `variant` as OpenVINO graphs into the empty folder `out`.

    `calibration` has calls of each component, with which it is traced and from which ranges of activations come. A
    missing package, missing calls or a network that cannot be converted is a UserError.
    """
    require_packages("openvino", "nncf")
    variant = on_model(variant, base)
    require_calls(variant, variant.components, calibration)

    def convert_network(component: str) -> None:
        traced = Traced(load_component(base, component, "float32"), calibration[component])
        model = convert(traced)
        described = traced.described({name for item in model.inputs for name in item.get_names()})
        if component in variant.rounded_components:
            model = compress(quantize_fully(model, inputs_of(base, component, described, calibration[component])))
        elif variant.weights == "int8":
            model = compress(model)
        write_graph(model, out, component, half=variant.weights == "float16")
        write_graph_call(out, component, described)
        if described.entry == EMBED:
            write_component(out, component, decision_state(base, component))

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
