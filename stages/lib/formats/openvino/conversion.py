"""A network of the pipeline as an OpenVINO graph, straight from its PyTorch module."""

import os
from typing import TYPE_CHECKING

import torch

from stages.lib.formats.shared.graphs import packages
from stages.lib.formats.shared.graphs.tracing import Traced, not_exportable, tracing

if TYPE_CHECKING:
    import openvino


def require_packages(*names: str) -> None:
    """Raise a UserError unless the optional packages are installed. Switches off their usage statistics."""
    packages.require_packages("openvino", names, "pip install openvino nncf")
    os.environ.setdefault("NNCF_CI", "1")
    os.environ.setdefault("CI", "true")


def convert(traced: Traced) -> "openvino.Model":
    """The FP32 graph of a network, its inputs by name; all dimensions are left open. What it does not need is no input.

    A network that cannot be traced, or has an operation that the runtime does not have, raises CannotMake.
    """
    import openvino
    from openvino.frontend import OpConversionFailure
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with tracing(), torch.no_grad():
        try:
            # What convert_model does by itself, but for tracing everything a second time to compare.
            decoder = TorchScriptPythonDecoder(
                traced, example_input=traced.example, trace_kwargs={"check_trace": False}
            )
            model = openvino.convert_model(decoder)
        except (OpConversionFailure, RuntimeError) as error:  # the latter of tracing
            raise not_exportable(traced, error) from None
    for parameter, name in zip(model.get_parameters(), traced.names, strict=True):
        parameter.set_friendly_name(name)
        parameter.output(0).get_tensor().set_names({name})
    for parameter in model.get_parameters():
        if not parameter.output(0).get_target_inputs():
            model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model
