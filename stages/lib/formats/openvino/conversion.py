"""A network of the pipeline as an OpenVINO graph, straight from its PyTorch module."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stages.lib.formats.shared.graphs import packages
from stages.lib.formats.shared.graphs.tracing import TRACED, check_supported, example_inputs, quiet_tracing
from stages.lib.models.components import load_component

if TYPE_CHECKING:
    import openvino


def require_packages(*names: str) -> None:
    """Raise a UserError unless the optional packages are installed. Switches off their usage statistics."""
    packages.require_packages("openvino", names, "pip install openvino nncf")
    os.environ.setdefault("NNCF_CI", "1")
    os.environ.setdefault("CI", "true")


def convert(base: Path, component: str, tokens: int) -> "openvino.Model":
    """The FP32 graph of one network; batch, height and width are left open."""
    import openvino
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    network = load_component(base, component, "float32")
    check_supported("openvino", component, network, base)
    with quiet_tracing(), torch.no_grad():
        # What convert_model does by itself, but for tracing everything a second time to compare.
        decoder = TorchScriptPythonDecoder(
            TRACED[component](network),
            example_input=example_inputs(component, network, tokens),
            trace_kwargs={"check_trace": False},
        )
        return openvino.convert_model(decoder)
