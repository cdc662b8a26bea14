"""How the model's images come about, for the chapters on theory and method: by its scheduler, and as the run saw it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.models.families import GUIDED_FROM_PROMPT, GUIDED_LENGTH_KEPT, TEXT_ENCODER, TRUE_GUIDANCE
from stages.lib.models.kinds import Kind, kind_of
from stages.lib.project.params import Params
from stages.lib.reporting.languages import Translate, number

# What diffusers calls it; TrigFlow, say, predicts none of these.
PREDICTIONS = {"epsilon": "noise", "v_prediction": "v", "flow_prediction": "flow", "sample": "image"}


def denoising_values(base: Path, params: Params, listing: Mapping[str, Any], _: Translate) -> dict[str, Any]:
    """What templates say of generation with the model in `base`; `listing` is images.json of the baseline.

    `prediction` (noise, v, flow, image or other), the `denoiser`, how often it was called (`seen`; None where nothing
    was generated), its `guidance` (with the key of its formula) and `call`, and which prompts are longer
    than a text encoder takes.
    """
    kind, arguments = kind_of(base), arguments_of(params, listing)
    others = {name: value for name, value in arguments.items() if name not in params.general_arguments}
    return {
        "denoiser": kind.of_role("denoiser")[0],
        "checked": bool(kind.of_role("safety_checker")),
        "prediction": prediction_of(kind, base),
        "seen": listing.get("denoising"),
        "guidance": guidance_of(listing.get("denoising")),
        "guidance_formula": f"guidance{'-from-prompt' if GUIDED_FROM_PROMPT.match(kind.pipeline) else ''}",
        "guided_length_kept": bool(GUIDED_LENGTH_KEPT.match(kind.pipeline)),
        "guidance_words": guidance_words(arguments, listing.get("denoising"), _),
        "call": {"others": ", ".join(f"{name} = {json.dumps(others[name])}" for name in sorted(others))},
        **cut_prompts(kind, listing),
    }


def prediction_of(kind: Kind, base: Path) -> str:
    """What the denoiser predicts, by the configuration of its scheduler: noise, v, flow, image or other."""
    name = next(name for name in kind.companions if kind.parts[name][1].endswith("Scheduler"))
    settings: Mapping[str, Any] = json.loads((base / name / "scheduler_config.json").read_text(encoding="utf-8"))
    if "FlowMatch" in kind.parts[name][1] or settings.get("use_flow_sigmas"):
        return "flow"
    return PREDICTIONS.get(settings.get("prediction_type", "epsilon"), "other")


def arguments_of(params: Params, listing: Mapping[str, Any]) -> dict[str, Any]:
    """What the pipeline was called with; where nothing was generated, as params.yaml says."""
    return listing.get("arguments") or params.general_arguments | dict(params.chosen_model.arguments)


def guidance_of(seen: Mapping[str, Any] | None) -> str | None:
    """How predictions were guided: twice (several predictions a step), inside (an input), none; None: not seen."""
    if seen is None:
        return None
    if seen["predictions"] > (seen["steps"] or seen["calls"]):
        return "twice"
    return "inside" if seen["guided_inside"] else "none"


def guidance_words(arguments: Mapping[str, Any], seen: Mapping[str, Any] | None, _: Translate) -> str:
    """'guidance scale 7.5', or that there is none."""
    if guidance_of(seen) == "none":
        return _("no guidance")
    own = arguments.get(TRUE_GUIDANCE) if guidance_of(seen) == "twice" else None
    scale = arguments.get("guidance_scale") if own is None else own
    return _("guidance") if scale is None else _("guidance scale %(scale)s") % {"scale": number(scale, "g")}


def cut_prompts(kind: Kind, listing: Mapping[str, Any]) -> dict[str, Any]:
    """Prompts longer than a text encoder takes: how many each encoder cut, and by id what was cut of each.

    A tokenizer is called by its text encoder, whose name is like its own.
    """
    entries = {entry["id"]: entry for entry in listing["per_image"] if "cuts" in entry}

    def encoder(cut: Mapping[str, Any]) -> str:
        name = cut["tokenizer"].replace("tokenizer", TEXT_ENCODER)
        return name if name in kind.networks else cut["tokenizer"]

    cuts = {id: [{**cut, "component": encoder(cut)} for cut in entry["cuts"]] for id, entry in entries.items()}
    counted = Counter((cut["component"], cut["limit"]) for found in cuts.values() for cut in found)
    return {"cuts": cuts, "cut_by": [{"component": key[0], "limit": key[1], "n": n} for key, n in counted.items()]}
