"""Making a variant: convert each network, let NNCF quantize it, store the graph."""

import contextlib
import io
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.openvino.conversion import convert, require_packages
from stages.lib.formats.openvino.storage import write_graph, write_manifest
from stages.lib.formats.shared.availability import require_calls
from stages.lib.formats.shared.choice import on_model, write_variant
from stages.lib.formats.shared.graphs.graph_call import write_graph_call
from stages.lib.formats.shared.graphs.networks import inputs_of, write_beside
from stages.lib.formats.shared.graphs.tracing import Traced, check_told_by_calls
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.calibration import Calls
from stages.lib.models.components import load_component
from stages.lib.models.families import END_LAYERS, OUTLIER_LAYERS, TIME_LAYERS
from stages.lib.project.params import Variant

if TYPE_CHECKING:
    import openvino

# Names of operations begin with those of their layers. The weights of end layers are not rounded, and the inputs of
# none of these are.
EXACT_LAYERS = (rf".*\.network\.({END_LAYERS})/.*",)
FLOAT_LAYERS = (rf".*\.network\.({TIME_LAYERS}|{OUTLIER_LAYERS})/.*",)

SMOOTHING = "nncf_smooth_quant"  # how NNCF's scaling of an input ends


def quantize(base: Path, variant: Variant, out: Path, calibration: Calls | None = None) -> None:
    """Write `base` with the components of `variant` as OpenVINO graphs into the empty folder `out`.

    `calibration` has calls of each component, with which it is traced and from which ranges of activations come. A
    missing package, missing calls or a network that cannot be converted is a UserError.
    """
    require_packages("openvino", "nncf")
    variant = on_model(variant, base)
    require_calls(variant, variant.components, calibration)
    check_told_by_calls(base, variant.components, calibration)
    spared = spared_layers(variant, base)

    def convert_network(component: str) -> None:
        traced = Traced(load_component(base, component, "float32"), calibration[component])
        model = convert(traced)
        described = traced.described({name for item in model.inputs for name in item.get_names()})
        kept, exact = operations_of(spared[component]), exact_weights(model, spared[component])
        if component in variant.rounded_components:
            inputs = inputs_of(base, component, described, calibration[component])
            model = compress(quantize_fully(model, inputs, kept), kept)
        elif variant.weights == "int8":
            model = compress(model, kept)
        put_back(model, exact)
        write_graph(model, out, component, half=variant.weights == "float16")
        write_graph_call(out, component, described)
        write_beside(base, out, component, traced.beside)

    write_variant(base, variant, out, "float32", convert_network)
    write_manifest(out, list(variant.components))


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """NNCF generates bars and tables on standard output."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def operations_of(layers: Collection[str]) -> list[str]:
    """A pattern of the names of all operations of layers, as NNCF's ignored scope takes it."""
    return [rf".*\.network\.({'|'.join(map(re.escape, layers))})/.*"] if layers else []


def exact_weights(model: "openvino.Model", layers: Collection[str]) -> dict[str, np.ndarray]:
    """The weights of layers of an FP32 graph, in FP16, by the names of their constants."""
    wanted = {f"self.network.{name}.weight" for name in layers}
    nodes = (node for node in model.get_ops() if node.get_friendly_name() in wanted)
    return {node.get_friendly_name(): node.data.astype(np.float16) for node in nodes}


def put_back(model: "openvino.Model", weights: dict[str, np.ndarray]) -> None:
    """Give layers that were not quantized their `exact_weights`, which the graph converts to FP32, in place.

    NNCF has scaled the channels of their inputs all the same, and the weights against that: both goes.
    """
    from openvino import opset13

    for node in model.get_ops():
        if node.get_friendly_name() in weights:
            half = opset13.constant(weights[node.get_friendly_name()], name=node.get_friendly_name())
            converted = opset13.convert(half, "f32").output(0)
            for user in list(node.output(0).get_target_inputs()):
                user.replace_source_output(converted)
                given = user.get_node().input(0)
                before = given.get_source_output().get_node()
                if before.get_friendly_name().endswith(SMOOTHING):
                    given.replace_source_output(before.input_value(0))


def compress(model: "openvino.Model", spared: Collection[str] = ()) -> "openvino.Model":
    """The same graph with the weights of convolutions, linear layers and embeddings as INT8, symmetric, per channel.

    Weights that already are integers stay as they are, and those of EXACT_LAYERS and `spared` operations are not
    rounded.
    """
    with _quiet_nncf():
        import nncf

        scope = nncf.IgnoredScope(patterns=[*EXACT_LAYERS, *spared], validate=False)
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope)


def quantize_fully(
    model: "openvino.Model", inputs: list[dict[str, np.ndarray]], spared: Collection[str] = ()
) -> "openvino.Model":
    """The same graph with INT8 weights (per channel) and INT8 activations, whose ranges come from `inputs`.

    EXACT_LAYERS, FLOAT_LAYERS and `spared` operations are left as they are, and so is attention: integers make it
    neither faster nor better. Biases are not corrected, as in OpenVINO's own examples for diffusion models: it took a
    fifth of the time, and made images of one format 0.15 dB better and of the other 0.13 dB worse.
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
                patterns=[*EXACT_LAYERS, *FLOAT_LAYERS, *spared],
                types=["ScaledDotProductAttention"],
                validate=False,
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
