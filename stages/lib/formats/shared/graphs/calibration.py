"""Calibration calls as the graphs take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.formats.shared.graphs.tracing import time_embedding
from stages.lib.models.components import empty_component

if TYPE_CHECKING:
    from stages.lib.models.calls import NetworkCall


def graph_inputs(base: Path, component: str, calls: "Sequence[NetworkCall]") -> list[dict[str, np.ndarray]]:
    """The calibration calls of one network as its graph takes them."""
    names = {
        "vae": ("latents", "z"),
        "text_encoder": ("tokens", "input_ids"),
        "safety_checker": ("pixels", "clip_input"),
    }
    if component != "unet":
        own, theirs = names[component]
        return [{own: call.arguments[theirs].numpy()} for call in calls]
    network = empty_component(base, "unet")
    return [
        {
            "sample": call.arguments["sample"].numpy(),
            "time": time_embedding(network, call.arguments["timestep"]).numpy(),
            "text": call.arguments["encoder_hidden_states"].numpy(),
        }
        for call in calls
    ]
