"""Calibration inputs as the graphs take them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.shared.graphs.tracing import time_embedding
from stages.lib.models.components import empty_component

if TYPE_CHECKING:
    import torch


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
