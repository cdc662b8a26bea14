"""What the report says of how images come about follows the model: its scheduler, its arguments, its parts."""

import functools
import json

import pytest
import torch

from stages.lib.generation.noise import initial_latents
from stages.lib.generation.observation import cut_after_reading, observing, whole_words
from stages.lib.generation.sampling import generate_image
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.call_arguments import call_arguments, noise_shape
from stages.lib.models.kinds import kind_of
from stages.lib.models.watch import around_calls, networks_of
from stages.lib.project.params import load_params
from stages.lib.reporting.denoising import denoising_values, prediction_of
from tests.tiny_models import ARGUMENTS
from tools.catalogue import extracted


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("sd15", {"prediction": "noise", "denoiser": "unet", "checked": True}),
        ("sd21", {"prediction": "v", "denoiser": "unet", "checked": True}),
        ("lcm", {"prediction": "noise", "denoiser": "unet", "checked": False}),
        ("sd3-without-t5", {"prediction": "flow", "denoiser": "transformer", "checked": False}),
        ("sd3-without-t5", {"guidance_formula": "guidance", "guided_length_kept": False}),
        ("qwen-image", {"guidance_formula": "guidance", "guided_length_kept": True}),
        ("z-image", {"guidance_formula": "guidance-from-prompt", "guided_length_kept": False}),
    ],
)
def test_theory_follows_the_model(kind, says, tiny_kind):
    found = denoising_values(tiny_kind(kind), load_params(), {"per_image": []}, str)
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
    path.write_text(json.dumps(settings | {"prediction_type": "trigflow"}))
    assert prediction_of(kind, tmp_path) == "other"


def test_the_arguments_are_those_of_the_call(tiny_kind):
    """Protects the user of a distilled model from being told that it ran with the guidance of all others."""
    params = load_params()
    own = {"guidance_scale": 0.0, "num_inference_steps": 2, "height": 32, "negative_prompt": "dull"}
    model = params.chosen_model.model_copy(update={"arguments": own})
    params = params.model_copy(update={"models": {**params.models, params.model: model}})
    found = denoising_values(tiny_kind("sd15"), params, {"per_image": []}, str)
    assert found["guidance_words"] == "guidance scale 0"
    assert found["call"]["others"] == 'height = 32, negative_prompt = "dull"'


@pytest.mark.parametrize(
    ("kind", "guidance", "words", "predictions"),
    [
        ("sd15", "twice", "guidance scale 7.5", 6),
        ("lcm", "inside", "guidance scale 7.5", 2),
        ("flux", "inside", "guidance scale 7.5", 2),
        ("flux-schnell", "none", "no guidance", 2),
        ("qwen-image", "twice", "guidance scale 4", 4),
    ],
)
def test_guidance_is_what_the_run_saw(kind, guidance, words, predictions, tiny_kind):
    """Protects the owner of FLUX from being told that it predicts twice, and of Qwen-Image from a scale it ignores."""
    folder = tiny_kind(kind)
    pipeline, denoisers = load_pipeline(folder), kind_of(folder).of_role("denoiser")
    general = {"num_inference_steps": 2, "guidance_scale": 7.5}
    arguments = call_arguments(type(pipeline), general, ARGUMENTS.get(kind, {}), kind)
    noise = initial_latents(noise_shape(pipeline, arguments)[1:], 1)
    prompt = "a very detailed picture, " * 8 + "a cat"
    if kind == "qwen-image":  # the tiny tokenizer has more tokens for the template than the published one
        template = pipeline.prompt_template_encode.partition("{}")[0]
        pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer(template).input_ids)
    with observing(pipeline, denoisers, prompt, arguments) as seen:
        generate_image(pipeline, kind, prompt, noise, 1, arguments)
    entry = {"id": "cat"} | seen.reading()
    listing = {"arguments": arguments, "denoising": seen.denoising(), "per_image": [entry]}
    found = denoising_values(folder, load_params(), listing, str)
    assert (found["guidance"], found["guidance_words"], found["seen"]["predictions"]) == (guidance, words, predictions)
    assert found["seen"]["latents"][1] == pipeline.vae.config.get("latent_channels", 4)
    if kind == "flux":  # a CLIP for 36 tokens, and of the other one as many as its argument says
        assert [(cut["component"], cut["limit"]) for cut in found["cut_by"]] == [
            ("text_encoder", 36),
            ("text_encoder_2", 16),
        ]
        assert prompt.startswith(entry["read"]) and len(entry["read"]) < len(prompt) and "cat" not in entry["read"]
    if kind == "qwen-image":  # cut once it is read, behind a template
        assert [(cut["component"], cut["limit"]) for cut in found["cut_by"]] == [("text_encoder", 16)]
        assert entry["read"] == "a very detailed" and cut_after_reading(pipeline, {})[1] == 512


@pytest.mark.parametrize("kind", ["sd15", "sd3-without-t5", "qwen-image", "z-image"])
def test_the_printed_guidance_is_what_the_pipeline_does(kind, tiny_kind):
    """Protects the chapter on theory: what the scheduler is given follows by the formula from the two predictions."""
    folder, scale = tiny_kind(kind), 3.0
    pipeline, names = load_pipeline(folder), kind_of(folder).of_role("denoiser")
    given = ARGUMENTS.get(kind, {}) | {"num_inference_steps": 1}
    given |= {"true_cfg_scale" if "true_cfg_scale" in given else "guidance_scale": scale}
    arguments = call_arguments(type(pipeline), {}, given, kind)
    predicted, guided, step = [], [], pipeline.scheduler.step

    def call(name, entry, inner, args, options):
        answer = inner(*args, **options)
        predicted.extend(row.flatten() for row in answer[0])
        return answer

    def see(prediction, *args, **options):
        guided.append(prediction.flatten())
        return step(prediction, *args, **options)

    pipeline.scheduler.step = functools.wraps(step)(see)
    with around_calls({name: networks_of(pipeline)[name] for name in names}, call):
        noise = initial_latents(noise_shape(pipeline, arguments)[1:], 1)
        predicted.clear()
        guided.clear()
        generate_image(pipeline, kind, "a cat", noise, 1, arguments)
    values, found = denoising_values(folder, load_params(), {"per_image": []}, str), []
    for one, other in (predicted[:2], predicted[1::-1]):  # whichever is with the prompt
        start = one if values["guidance_formula"] == "guidance-from-prompt" else other
        result = start + scale * (one - other)
        if values["guided_length_kept"]:
            token = pipeline.transformer.config.in_channels
            whole, kept = result.reshape(-1, token), one.reshape(-1, token)
            result = whole * kept.norm(dim=-1, keepdim=True) / whole.norm(dim=-1, keepdim=True)
        found += [result.flatten(), -result.flatten()]  # some networks predict the opposite
    assert any(torch.allclose(result, guided[0], rtol=1e-3, atol=1e-4) for result in found)


def test_what_was_read_ends_with_a_word():
    """Protects attributes from a word that begins as another one does."""
    assert whole_words("a cat in a cathedral", 14) == "a cat in a"
    assert whole_words("a cat in", 5) == "a cat" and whole_words("a cat", 5) == "a cat"
    assert whole_words("\u732b\u72ac\u9ce5", 2) == "\u732b\u72ac"


def test_no_text_takes_the_denoiser_for_a_u_net():
    """Protects who measures a transformer. The study's own model is one, and so are components that are called so."""
    texts = [m for m in extracted() if "U-Net" in str(m.id) and m.id != "U-Net"]
    assert {path for message in texts for path, _ in message.locations if "lib/study/" not in path} == set()
