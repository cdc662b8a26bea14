"""How the model's images come about, for the chapters on theory and method: by its scheduler and its arguments."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.models.kinds import Kind, kind_of
from stages.lib.project.params import Params

PREDICTIONS = {"v_prediction": "v", "flow_prediction": "flow", "sample": "image"}  # diffusers' words; others: noise


def denoising_values(base: Path, params: Params) -> dict[str, Any]:
    """`prediction` (noise, v, flow or image) and the name of the `denoiser` of the model in `base`; its `call`."""
    kind = kind_of(base)
    arguments = params.general_arguments | dict(params.chosen_model.arguments)
    others = {name: value for name, value in arguments.items() if name not in params.general_arguments}
    return {
        "denoiser": kind.of_role("denoiser")[0],
        "checked": bool(kind.of_role("safety_checker")),
        "prediction": prediction_of(kind, base),
        "call": arguments | {"others": ", ".join(f"{name} = {json.dumps(others[name])}" for name in sorted(others))},
    }


def prediction_of(kind: Kind, base: Path) -> str:
    """What the denoiser predicts, by the configuration of its scheduler: noise, v, flow or image."""
    name = next(name for name in kind.companions if kind.parts[name][1].endswith("Scheduler"))
    settings: Mapping[str, Any] = json.loads((base / name / "scheduler_config.json").read_text(encoding="utf-8"))
    if "FlowMatch" in kind.parts[name][1] or settings.get("use_flow_sigmas"):
        return "flow"
    return PREDICTIONS.get(settings.get("prediction_type", ""), "noise")
