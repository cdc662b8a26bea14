"""What the report says of how images come about follows the model: its scheduler, its arguments, its parts."""

import json

import pytest

from stages.lib.models.kinds import kind_of
from stages.lib.project.params import load_params
from stages.lib.reporting.denoising import denoising_values, prediction_of
from tools.catalogue import extracted


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("sd15", {"prediction": "noise", "denoiser": "unet", "checked": True}),
        ("sd21", {"prediction": "v", "denoiser": "unet", "checked": True}),
        ("lcm", {"prediction": "noise", "denoiser": "unet", "checked": False}),
        ("sd3-without-t5", {"prediction": "flow", "denoiser": "transformer", "checked": False}),
    ],
)
def test_theory_follows_the_model(kind, says, tiny_kind):
    found = denoising_values(tiny_kind(kind), load_params())
    assert {key: found[key] for key in says} == says


def test_a_solver_that_follows_a_flow_is_told_from_one_that_removes_noise(tiny_kind, tmp_path):
    """Protects Sana, whose scheduler is of a class that others use for noise."""
    base = tiny_kind("pixart-sigma")
    kind, path = kind_of(base), tmp_path / "scheduler/scheduler_config.json"
    path.parent.mkdir()
    settings = json.loads((base / "scheduler/scheduler_config.json").read_text(encoding="utf-8"))
    assert prediction_of(kind, base) == "noise"
    path.write_text(json.dumps(settings | {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}))
    assert prediction_of(kind, tmp_path) == "flow"


def test_the_arguments_are_those_of_the_call(tiny_kind):
    """Protects the user of a distilled model from being told that it ran with the guidance of all others."""
    params = load_params()
    own = {"guidance_scale": 0.0, "num_inference_steps": 2, "height": 32, "negative_prompt": "dull"}
    model = params.chosen_model.model_copy(update={"arguments": own})
    params = params.model_copy(update={"models": {**params.models, params.model: model}})
    call = denoising_values(tiny_kind("sd15"), params)["call"]
    assert (call["guidance_scale"], call["num_inference_steps"]) == (0.0, 2)
    assert call["others"] == 'height = 32, negative_prompt = "dull"'


def test_no_text_takes_the_denoiser_for_a_u_net():
    """Protects who measures a transformer. The study's own model is one, and so are components that are called so."""
    texts = [m for m in extracted() if "U-Net" in str(m.id) and m.id != "U-Net"]
    assert {path for message in texts for path, _ in message.locations if "lib/study/" not in path} == set()
