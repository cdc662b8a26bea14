"""Any pipeline: loaded as diffusers loads it, seen from outside, and each network again from what was seen of it."""

import importlib.util
import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from stages.calibrate import collect
from stages.lib.models.assembly import assemble
from stages.lib.models.call_arguments import call_arguments, noise_shape
from stages.lib.models.calls import EMBED, OWN_ENTRIES, bind, inside, run, tensors_in
from stages.lib.models.components import empty_component, load_component
from stages.lib.models.folder_checks import check_pipeline_folder
from stages.lib.models.kinds import ROLES, kind_of, kind_of_index
from stages.lib.models.pipelines import configuration_files, listed_files
from stages.lib.models.watch import Replay, Watch, around_calls, networks_of
from stages.lib.project.errors import UserError
from stages.lib.project.prompts import Prompt
from tests.tiny_models import ARGUMENTS, KINDS

CALLED_BY_LAYERS = [("ideogram", "text_encoder")]
CHANGED = [("sdxl-pag", "unet")]  # by the pipeline, while it generates
ENDING_TIMES = ["sana-sprint"]
GENERAL = {"num_inference_steps": 3, "guidance_scale": 7.5}


def loaded(folder: Path) -> Any:
    """The pipeline in FP32, as this project puts it together."""
    return assemble(folder, {name: load_component(folder, name, "float32") for name in kind_of(folder).networks})


def image(pipeline: Any, noise: torch.Tensor, arguments: dict[str, Any]) -> np.ndarray:
    generator = torch.Generator().manual_seed(1)
    return pipeline(prompt="A red house", latents=noise.clone(), generator=generator, output_type="np", **arguments)[0][
        0
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_pipeline_is_loaded_watched_and_replayed_bit_for_bit(tiny_kind, name):
    """Protects the claim that any pipeline can be measured: nothing of it is implemented a second time."""
    folder = tiny_kind(name)
    check_pipeline_folder(folder)
    kind, pipeline = kind_of(folder), loaded(folder)
    assert networks_of(pipeline).keys() == set(kind.networks)
    arguments = call_arguments(type(pipeline), GENERAL, ARGUMENTS.get(name, {}), name)
    noise = torch.randn(noise_shape(pipeline, arguments), generator=torch.Generator().manual_seed(0))
    absent = dict.fromkeys((*kind.null, *kind.missing))
    reference = image(diffusers.DiffusionPipeline.from_pretrained(folder, **absent), noise, arguments)
    assert np.array_equal(image(pipeline, noise, arguments), reference)

    watch = Watch(keep=True)
    with watch.watching(pipeline):
        assert np.array_equal(image(pipeline, noise, arguments), reference)
    last = name in ENDING_TIMES  # the last time is where the last step ends
    assert len(watch.latents) == len(pipeline.scheduler.timesteps) - last >= 2
    for network in kind.networks:  # what tables of names say of it is what it does
        steps = {seen.step for seen in watch.calls[network]}
        entries = {seen.call.entry for seen in watch.calls[network]}
        untouched = {seen.call.inside for seen in watch.calls[network]} == {inside(empty_component(folder, network))}
        assert untouched != ((name, network) in CHANGED)
        expected = {
            "text_encoders": ({0}, {"forward"}),
            "denoiser": (set(range(len(watch.latents))), {"forward"}),
            "decoder": ({len(watch.latents)}, {"decode"}),
            "safety_checker": ({len(watch.latents)}, {EMBED}),
        }
        if (name, network) in CALLED_BY_LAYERS:
            assert not entries & set(OWN_ENTRIES) and {seen.number for seen in watch.calls[network]} == {0}
            entries = {"forward"}
        assert (steps, entries) == expected[kind.role(network)]

    networks = networks_of(pipeline)
    with torch.no_grad():
        for network, calls in watch.calls.items():
            answers = list(tensors_in(run(networks[network], calls[-1].call)))
            if (name, network) in CHANGED:
                continue
            if calls[-1].call.entry == EMBED:
                assert answers[0].shape == (1, 32)
            else:
                assert all(map(torch.equal, answers, tensors_in(calls[-1].answer)))
    with around_calls(networks, Replay({key: [seen.answer for seen in calls] for key, calls in watch.calls.items()})):
        assert np.array_equal(image(pipeline, noise, arguments), reference)


def test_noise_has_the_pipelines_own_shape_without_the_weights_of_the_denoiser(tiny_kind):
    """Protects the noise of a model whose denoiser fills the memory, and images that are not square."""
    for name, shape in (("sd15-oblong", (1, 4, 16, 24)), ("flux", (1, 64, 64)), ("sd3", (1, 16, 16, 16))):
        folder = tiny_kind(name)
        kind = kind_of(folder)
        networks = {item: load_component(folder, item, "float32") for item in kind.of_role("text_encoders")}
        empty = (*kind.of_role("denoiser"), *kind.of_role("decoder"))
        pipeline = assemble(folder, networks | {item: empty_component(folder, item) for item in empty})
        arguments = call_arguments(type(pipeline), GENERAL, ARGUMENTS.get(name, {}), name)
        assert noise_shape(pipeline, arguments) == shape


@pytest.mark.parametrize(("height", "says"), [(33, "divisible by 8 but are 33"), ("tall", "height='tall'")])
def test_a_value_that_the_pipeline_refuses_is_one_message(height, says, tiny_kind):
    """Protects a user from a traceback of diffusers, also where a class needs an image besides the prompt."""
    with pytest.raises(UserError, match=f"does not generate from a prompt .*{says}"):
        noise_shape(loaded(tiny_kind("sd15-unchecked")), {"height": height, "width": 32})


@pytest.mark.parametrize("name", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"])
def test_a_class_that_changes_an_image_names_the_one_that_needs_none(name, tiny_kind, tmp_path):
    """Protects the owner of a folder whose index was written by such a pipeline: one takes no noise, one an image."""
    folder = shutil.copytree(tiny_kind("sd15-unchecked"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": name}), encoding="utf-8")
    with pytest.raises(UserError, match="write 'StableDiffusionPipeline', which needs no image, as its '_class_name'"):
        noise_shape(loaded(folder), GENERAL)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_inference_steps": 0}, "it fails .ZeroDivisionError"),
        ({"clip_skip": 9}, "it fails .IndexError"),
        ({"height": 48}, "say .'height': 48., but the pipeline makes 32 x 32 pixels: give height and width, both"),
    ],
)
def test_what_a_pipeline_fails_with_names_step_and_network(arguments, says, tiny_kind):
    """Protects a user from a traceback of diffusers, also of a class that nobody has tried, and from a size that
    Stable Diffusion ignores."""
    pipeline, prompts = loaded(tiny_kind("sd15-unchecked")), [Prompt("a", "a cat", "x", "low", 1, "s")]
    with pytest.raises(UserError, match=says):
        collect(pipeline, prompts, {"num_inference_steps": 2} | arguments, 1, 0)
    pipeline.unet.conv_in = torch.nn.Conv2d(5, 16, 3)
    with pytest.raises(UserError, match="it fails in step 1, unet .RuntimeError"):
        collect(pipeline, prompts, {"num_inference_steps": 2}, 1, 0)


def test_a_call_is_named_by_the_parameters_of_the_network():
    """Protects graphs and files, whose inputs have these names."""
    from tests.tiny_models import unet

    network, sample, text = unet(), torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    call = bind(network, "forward", (sample, 3), {"encoder_hidden_states": text, "added_cond_kwargs": {"a": text}})
    assert list(call.tensors()) == ["sample", "encoder_hidden_states", "added_cond_kwargs.a"]
    assert call.arguments["timestep"] == 3
    assert torch.equal(run(network, call).sample, network(sample, 3, text).sample)


def test_what_a_pipeline_puts_into_a_network_is_seen():
    """Protects graphs, which would leave it out unsaid: other attention, and a hook as that of Qwen-Image 2.1."""
    from diffusers.models.attention_processor import PAGIdentitySelfAttnProcessor2_0

    from tests.tiny_models import clip, unet

    def hook(*_: object) -> None:
        pass

    encoder, denoiser = clip(), unet()
    before = inside(encoder), inside(denoiser)
    encoder.register_forward_hook(hook)  # of a library, which sets its own when a network is first called
    assert inside(encoder) == before[0]
    hook.__module__ = "diffusers.pipelines.of_some_kind"
    assert inside(encoder) != before[0]
    denoiser.mid_block.attentions[0].transformer_blocks[0].attn1.processor = PAGIdentitySelfAttnProcessor2_0()
    assert inside(denoiser) != before[1]


def test_a_replay_answers_in_the_place_of_some_networks_alone(tiny_kind):
    """Protects sensitivity: what did not change is not computed again, and what did is."""
    pipeline = loaded(tiny_kind("sd15-unchecked"))
    arguments = call_arguments(type(pipeline), GENERAL, {}, "sd15")
    noise, watch = torch.randn(noise_shape(pipeline, arguments)), Watch(keep=True)
    with watch.watching(pipeline):
        reference = image(pipeline, noise, arguments)
    with torch.no_grad():
        next(pipeline.text_encoder.parameters()).zero_()
        pipeline.vae.decoder.conv_out.bias.add_(0.25)
    answers = {name: [seen.answer for seen in watch.calls[name]] for name in ("text_encoder", "unet")}
    clock = Watch(components=["vae"])
    with around_calls(networks_of(pipeline), Replay(answers)), clock.watching(pipeline):
        other = image(pipeline, noise, arguments)
    inside = (reference > 0.01) & (reference < 0.85)
    assert np.allclose((other - reference)[inside], 0.125, atol=1e-3) and list(clock.calls) == ["vae"]


def test_arguments_are_those_that_the_pipeline_takes():
    """Protects a user from a setting that does nothing, and turbo models from a guidance that they must not have."""
    kind = diffusers.StableDiffusionXLPipeline
    assert call_arguments(kind, GENERAL, {"guidance_scale": 0.0, "height": 512}, "mine") == {
        "num_inference_steps": 3,
        "guidance_scale": 0.0,
        "height": 512,
    }
    for key in ("true_cfg_scale", "prompt", "latents", "callback_on_step_end", "prompt_embeds"):
        with pytest.raises(UserError, match=f"'models.mine.arguments.{key}' has the value 4, but a StableDiffusionXL"):
            call_arguments(kind, GENERAL, {key: 4}, "mine")
    taken = inspect.signature(diffusers.LuminaPipeline.__call__).parameters
    assert set(call_arguments(diffusers.LuminaPipeline, {"no_such": 1}, {}, "mine")) <= set(taken)


def test_a_pipeline_that_takes_no_noise_is_refused():
    """Protects against formats that are compared on different noise."""
    with pytest.raises(UserError, match="m/model_index.json: '_class_name' is 'IFPipeline', which takes no latents"):
        kind_of_index({"_class_name": "IFPipeline"}, [], "m").pipeline_class()


@pytest.mark.parametrize(("name", "makes"), [("LattePipeline", "frames"), ("StableAudioPipeline", "audios")])
def test_a_pipeline_that_makes_no_images_is_refused(name, makes):
    """Protects the owner of a video model from hours of work before the first of them is no image."""
    with pytest.raises(UserError, match=f"'_class_name' is '{name}', which makes {makes}, no images: give a text-to"):
        kind_of_index({"_class_name": name}, [], "m").pipeline_class()


def test_a_pipeline_that_needs_a_package_names_it(tmp_path):
    """Protects a user from a traceback: diffusers leaves out imports of what is not here, and fails later."""
    if importlib.util.find_spec("ftfy"):
        pytest.skip("the package is there")
    parts = {name: part for name, part in KINDS["z-image"]().components.items() if name != "transformer"}
    denoiser = diffusers.PRXTransformer2DModel(
        in_channels=16, patch_size=1, context_in_dim=16, hidden_size=8, num_heads=2, depth=1, axes_dim=[2, 2]
    )
    diffusers.PRXPipeline(transformer=denoiser, **parts).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="a PRXPipeline needs the package 'ftfy', which is not installed: pip install"):
        noise_shape(loaded(tmp_path), GENERAL)


@pytest.mark.parametrize("package", ["torchvision", "cosmos_guardrail"])
def test_a_pipeline_that_cannot_be_put_together_names_the_package(package, tmp_path):
    """Protects a user from a traceback of a constructor; one of the two reads prompts without a text encoder."""
    if importlib.util.find_spec(package):
        pytest.skip("the package is there")
    parts = dict(KINDS["auraflow"]().components)
    if package == "torchvision":
        del parts["text_encoder"]
        rope = {"long_factor": [1, 2], "short_factor": [1, 2]}
        small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4}
        parts["transformer"] = diffusers.OmniGenTransformer2DModel(**small, num_layers=1, rope_scaling=rope)
    for part, item in parts.items():
        item.save_pretrained(tmp_path / part)
    index = {part: [type(item).__module__.partition(".")[0], type(item).__name__] for part, item in parts.items()}
    name = "OmniGenPipeline" if package == "torchvision" else "Cosmos2TextToImagePipeline"
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": name}), encoding="utf-8")
    check_pipeline_folder(tmp_path)
    with pytest.raises(UserError, match=f"needs the package '{package}'|`{package}` is not installed: install it"):
        loaded(tmp_path)


def test_a_scheduler_that_the_pipeline_cannot_use_is_named(tiny_kind):
    """Protects the owner of a folder with another family's scheduler from changing arguments in vain."""
    pipeline = loaded(tiny_kind("sd15-unchecked"))
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.raises(UserError, match="'init_noise_sigma'; write a scheduler that a StableDiffusionPipeline can use"):
        noise_shape(pipeline, GENERAL)


def test_a_guider_is_no_network(tmp_path):
    """Protects models that bring how they are guided, such as HunyuanImage, from being asked for weights of it."""
    from stages.lib.models.assembly import load_companions

    guider = diffusers.AdaptiveProjectedMixGuidance(guidance_scale=3.0)
    guider.save_pretrained(tmp_path / "guider")
    index = {"_class_name": "HunyuanImagePipeline", "guider": ["diffusers", type(guider).__name__]}
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    kind = kind_of(tmp_path)
    assert kind.networks == () and kind.companions == ("guider",)
    assert load_companions(tmp_path)["guider"].guidance_scale == 3.0
    assert "guider/guider_config.json" in configuration_files(listed_files(tmp_path), kind)


def test_components_are_chosen_by_role_or_by_name():
    """Protects `components` in params.yaml, which shall hold for models that call their parts differently."""
    parts = {
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    kind = kind_of_index({"_class_name": "StableDiffusion3Pipeline", **parts}, parts, "here")
    assert kind.networks == ("transformer", "vae", "text_encoder", "text_encoder_2") == kind.chosen(None)
    assert kind.chosen(("text_encoders", "denoiser")) == ("transformer", "text_encoder", "text_encoder_2")
    assert kind.chosen(("text_encoder_2", "safety_checker")) == ("text_encoder_2",)
    for names, said in (
        (["unet"], "'unet', which is no network of here"),
        (["safety_checker"], "of which here has none"),
    ):
        with pytest.raises(UserError, match=said):
            kind.chosen(names)
    assert set(ROLES) == {"denoiser", "decoder", "text_encoders", "safety_checker"}


def test_every_name_in_the_tables_of_layers_is_that_of_a_layer(tiny_kind):
    """Protects layers that shall be spared: a pattern that matches no layer of any family spares nothing."""
    from stages.lib.formats.torch.layers import kind_of as kind_of_layer
    from stages.lib.formats.torch.layers import weight_layers
    from stages.lib.models.families import END_LAYERS, OUTLIER_LAYERS, TIME_LAYERS

    layers, kinds = set(), {}
    for name in ("sd15", "sdxl", "sd3", "flux", "pixart-sigma", "sana", "qwen-image", "z-image"):
        folder = tiny_kind(name)
        kind = kind_of(folder)
        for network in (*kind.of_role("denoiser"), *kind.of_role("decoder")):
            found = set(weight_layers(empty_component(folder, network)))
            layers |= found
            if kind.role(network) == "denoiser":
                kinds[name] = {kind_of_layer(layer) for layer in found}
    for table in (END_LAYERS, TIME_LAYERS, OUTLIER_LAYERS):
        assert any(re.fullmatch(table, layer) for layer in layers)
    for name, found in kinds.items():
        assert {"first and last", "time"} <= found, name
