"""Calibration inputs as the graphs take them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.components import empty_component
from stages.lib.errors import UserError
from stages.lib.graphs.tracing import time_embedding
from stages.lib.params import Variant

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, "list[dict[str, torch.Tensor]]"]


def check_calibration(variant: Variant, calibration: Inputs | None) -> None:
    """Raise a UserError unless there are inputs of every component that `variant` converts."""
    for component in variant.components:
        if not (calibration or {}).get(component):
            raise UserError(
                f"variant '{variant.name}' rounds activations to INT8, but there are no calibration inputs of "
                f"'{component}': add prompts to the file of params.yaml's 'calibration.file', run `dvc repro calibrate`"
            )


def graph_inputs(base: Path, component: str, inputs: "list[dict[str, torch.Tensor]]") -> list[dict[str, np.ndarray]]:
    """The calibration inputs of one network as its graph takes them."""
    if component != "unet":
        return [{name: array.numpy() for name, array in item.items()} for item in inputs]
    network = empty_component(base, "unet")
    return [
        {
            "sample": item["sample"].numpy(),
            "time": time_embedding(network, item["timestep"]).numpy(),
            "text": item["text"].numpy(),
        }
        for item in inputs
    ]
