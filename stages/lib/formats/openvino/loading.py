"""Rebuilding the pipeline from the stored graphs."""

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import DiffusionPipeline
from torch import nn

from stages.lib.formats.openvino.conversion import require_packages
from stages.lib.formats.openvino.networks import Graph
from stages.lib.formats.openvino.precision import mixed_precision, without_activation_rounding
from stages.lib.formats.openvino.storage import let_go_of_constants, read_graph
from stages.lib.formats.shared.choice import load_variant, on_model
from stages.lib.formats.shared.graphs.graph_call import read_graph_call
from stages.lib.formats.shared.graphs.networks import refused, stand_in
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError, limit_reached
from stages.lib.project.params import PARAMS_FILE, Variant

if TYPE_CHECKING:
    import openvino


def load(folder: Path, variant: Variant, device: str) -> DiffusionPipeline:
    """Rebuild the pipeline that `quantize` wrote; `device` is "cpu". A file that was changed is a UserError."""
    core, variant = cpu_core(variant), on_model(variant, folder)

    def load_converted(component: str) -> nn.Module:
        try:
            network = _network(core, folder, component, variant)
        except RuntimeError as error:
            if limit_reached(error):
                raise
            runtime = f"OpenVINO {version('openvino')}"
            raise refused(runtime, kind_of(folder).parts[component][1], error) from None
        let_go_of_constants(folder, component)
        return network

    pipeline = load_variant(folder, variant, device, load_converted, compute=None)
    for component in kind_of(folder).of_role("denoiser") if variant.schedule else ():
        _announce_images(pipeline, getattr(pipeline, component))
    return pipeline


def cpu_core(variant: Variant) -> "openvino.Core":
    """The runtime. A UserError where the package, or BF16 that the variant computes in, is not there."""
    require_packages("openvino")
    import openvino

    core = openvino.Core()
    asked = {"compute": [variant.compute], "schedule": variant.schedule}
    for key, values in asked.items():
        needy = next((value for value in values if value in ("bfloat16", "mixed")), None)
        if needy and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError(
                f"{PARAMS_FILE}: variants.{variant.name}.{key} has '{needy}', and this processor cannot compute in "
                "bfloat16: use float32 instead, or a processor with AVX512_BF16 or AMX"
            )
    return core


def _network(core: "openvino.Core", folder: Path, component: str, variant: Variant) -> nn.Module:
    model, role = read_graph(core, folder, component), kind_of(folder).role(component)
    shapes = read_graph_call(folder, component).inputs
    graph = compiled(core, model, role, variant.compute, shapes, component in variant.rounded_components)
    entries = sorted(set(variant.schedule) - {"int8"}) if role == "denoiser" else []
    scheduled = {
        entry: compiled(core, model, role, variant.compute if entry == "none" else entry, shapes, rounded=False)
        for entry in entries
    }
    return stand_in(folder, component, graph, scheduled, variant.schedule if scheduled else ())


def compiled(
    core: "openvino.Core",
    model: "openvino.Model",
    role: str,
    compute: str,
    shapes: Mapping[str, Sequence[int]],
    rounded: bool,
) -> Graph:
    """The stored graph `model` of a network for arithmetic in `compute`; `rounded`: with INT8 activations, if any.

    "mixed" is FP32 around BF16 products in the denoiser, or around INT8 ones where it is `rounded`: it is called many
    times, and what BF16 loses adds up. The decoder and the safety checker, called once, compute in BF16, text encoders
    in FP32.
    """
    if not rounded:
        model = without_activation_rounding(model)
    if compute == "mixed":
        compute = "float32" if role in ("denoiser", "text_encoders") else "bfloat16"
        model = mixed_precision(model) if role == "denoiser" and not rounded else model
    return Graph(core, model, compute, shapes)


def _announce_images(pipeline: DiffusionPipeline, denoiser: nn.Module) -> None:
    """Tell the denoiser when an image begins: then, and only then, the pipeline sets its scheduler's timesteps."""
    set_timesteps = pipeline.scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def announced(*arguments: Any, **options: Any) -> None:
        denoiser.begin_image()
        return set_timesteps(*arguments, **options)

    pipeline.scheduler.set_timesteps = announced
