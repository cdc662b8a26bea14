"""The three stages of sensitivity on a tiny model: complete, repeatable, no effect where nothing is rounded."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import TorchAoConfig, UNet2DConditionModel
from ruamel.yaml import YAML
from torchao.quantization import Int8WeightOnlyConfig

from stages import sensitivity_components, sensitivity_layers, sensitivity_steps
from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.sparing import spared_layers, with_recommended
from stages.lib.generation.noise import read_noise
from stages.lib.generation.sampling import generate_image
from stages.lib.models.assembly import load_pipeline
from stages.lib.models.calibration import read_calls, write_calls
from stages.lib.models.components import empty_component, load_component
from stages.lib.models.inventory import memory_bytes
from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params, variant_of
from stages.lib.project.prompts import Prompt
from stages.lib.sensitivity import sparing
from stages.lib.sensitivity.spare_file import paste
from stages.lib.sensitivity.swapping import Studio, generate, generate_answered, in_window, sensitivity_prompts
from tests.reference import COMPONENTS, calibration_of
from tests.tiny_project import write_models, write_settings

STAGES = {
    "components": sensitivity_components,
    "steps": sensitivity_steps,
    "layers": sensitivity_layers,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity")
    write_settings(folder)
    write_models(folder, tiny_model, ())
    shutil.copytree(tiny_model, folder / "data/runs/tiny/models/base")
    write_calls(folder / "data/runs/tiny/calibration.safetensors", calibration_of(tiny_model, steps=3))
    return folder


def run(project: Path, name: str, patch: pytest.MonkeyPatch) -> dict:
    """One stage as `dvc repro` runs it; what it wrote."""
    patch.chdir(project)
    output = f"reports/tiny/sensitivity/{name}.json"
    words = [
        "--base",
        "data/runs/tiny/models/base",
        "--calibration",
        "data/runs/tiny/calibration.safetensors",
        "--output",
        output,
    ]
    noise, spare = ["--noise", "data/runs/tiny/noise.safetensors"], ["--spare", "reports/tiny/spare.yaml"]
    words += spare if name == "layers" else noise
    patch.setattr("sys.argv", [name, *words])
    STAGES[name].main()
    return json.loads((project / output).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reports(project) -> dict[str, dict]:
    with pytest.MonkeyPatch.context() as patch:
        return {name: run(project, name, patch) for name in STAGES}


@pytest.fixture(scope="module")
def pipeline(project):
    return load_pipeline(project / "data/runs/tiny/models/base")


def test_all_combinations_are_there_and_shares_add_up(reports):
    report = reports["components"]
    assert report["images"] == len(report["ids"]) == 2
    assert [item["format"] for item in report["formats"]] == ["fp16", "int8"]
    for item in report["formats"]:
        assert [len(row["quantized"]) for row in item["combinations"]] == [0] + [1] * 4 + [2] * 6 + [3] * 4 + [4]
        nothing = item["combinations"][0]
        assert (nothing["psnr_db"], nothing["identical"], nothing["margin_shift"]) == (None, 2, 0)
        for tap in item["probe_points"].values():
            assert sum(row["shapley"] for row in tap["components"]) == pytest.approx(tap["total"], rel=1e-4)
            if tap["damaged"]:
                assert sum(row["share"] for row in tap["components"]) == pytest.approx(1, rel=1e-4)
        assert [row["component"] for row in item["components"]] == list(COMPONENTS)


def test_a_component_shows_at_its_own_tap_and_below_only(reports):
    rows = {tuple(row["quantized"]): row for row in reports["components"]["formats"][1]["combinations"]}
    assert rows["text_encoder",]["embedding_cosine"] < 1
    assert rows["unet",]["embedding_cosine"] == 1 and rows["unet",]["latent_snr_db"] is not None
    assert rows["vae",]["latent_snr_db"] is None and rows["vae",]["psnr_db"] is not None
    assert rows["safety_checker",]["psnr_db"] is None and rows["safety_checker",]["margin_shift"] > 0


def test_less_precision_is_more_damage(reports):
    """FP16 weights against INT8 weights and activations, everything quantized."""
    whole = [item["combinations"][-1]["mean_square_error"] for item in reports["components"]["formats"]]
    assert whole[0] < whole[1]


def test_windows_cover_every_call_once(reports):
    report = reports["steps"]
    assert [item["format"] for item in report["formats"]] == ["int8"]
    windows = report["formats"][0]["windows"]
    covered = [call for window in windows for call in range(window["first"], window["last"] + 1)]
    assert covered == list(range(report["calls"]))
    assert all(len(window["rms"]["samples"]) == report["images"] for window in windows)
    assert sensitivity_steps.windows_of(5, 2) == [range(0, 2), range(2, 4), range(4, 5)]


def test_layers_are_ranked_and_budgets_are_kept(reports):
    report = reports["layers"]
    noise = [row["noise_4_bits"] for row in report["layers"]]
    assert noise == sorted(noise, reverse=True)
    for groups in (report["blocks"], report["kinds"]):
        assert sum(row["layers"] for row in groups) == len(report["layers"])
        assert sum(row["weights"] for row in groups) == sum(row["weights"] for row in report["layers"])
        assert all(row["noise_4_bits"] > row["noise_8_bits"] > 0 < row["noise_activations"] for row in groups)
    assert all(row["mean_bits"] <= row["allowed_bits"] for row in report["budgets"])
    uniform = [row["noise"] for row in report["budgets"] if row["kind"] == "uniform"]
    assert uniform == sorted(uniform, reverse=True)


def test_sparing_first_what_matters_most_buys_most(project, reports):
    """The curve is of more and more layers, and ends nearer than it begins; nothing recommended is over its share."""
    layers = {row["layer"]: row for row in reports["layers"]["layers"]}
    for item in reports["layers"]["sparing"]:
        assert sorted(item["order"]) == sorted(layers)
        key = {"int8": "noise_8_bits", "int4": "noise_4_bits"}.get(item["kind"], f"noise_{item['kind']}")
        worth = [layers[name][key] / layers[name]["weights"] for name in item["order"]]
        assert worth == pytest.approx(sorted(worth, reverse=True), rel=1e-4)
        first, *_, last = item["curve"]
        assert first["spared"] == 0 and last["bytes"] > first["bytes"] and last["noise"] < 0.5 * first["noise"]
        bits = 4 if item["kind"] == "int4" else 8
        chosen = sum(layers[name]["weights"] for name in item["order"][: item["recommended"]])
        assert 0 < chosen * (16 - bits) / 8 <= 0.05 * first["bytes"]


def test_damage_of_fp8_and_activations_goes_by_gain_and_own_noise():
    """A layer whose own output is twice as noisy damages twice as much; one that is never run does nothing."""
    measured = [
        {"layer": "a", "noise_8_bits": 3.0, "noise_4_bits": 9.0},
        {"layer": "b", "noise_8_bits": 0, "noise_4_bits": 0},
    ]
    local = {kind.name: {"a": own} for kind, own in zip(sparing.KINDS, (0.5, 1.0, 2.0, 7.0), strict=True)}
    found = sparing.damages(measured, local)
    assert {kind: row["a"] for kind, row in found.items()} == {
        "int8": 3,
        "int4": 9,
        "int8_activations": 6,
        "float8": 12,
    }
    assert {row["b"] for row in found.values()} == {0}


def test_what_is_recommended_is_spared_and_no_variant_reads_of_others(project, reports, tmp_path):
    """`spare: auto` of a format takes the list of its kind; floating point has none."""
    path = project / "reports/tiny/spare.yaml"
    content = YAML(typ="safe", pure=True).load(path)
    keys = {"name": "v", "label": "V", "spare": "auto", "components": ["denoiser"]}
    base = project / "data/runs/tiny/models/base"
    for kind, chosen in {
        "int4": {"backend": "bitsandbytes", "weights": "nf4"},
        "int8": {"backend": "gguf", "weights": "q8_0"},
        "int8_activations": {"backend": "openvino", "weights": "int8", "activations": "int8", "compute": "float32"},
        "float8": {"backend": "layerwise", "weights": "float8"},
    }.items():
        variant = on_model(with_recommended(variant_of(**keys, **chosen), path), base)
        spared = spared_layers(variant, base)["unet"]
        assert sorted(spared) == sorted(content["kinds"][kind]["recommended"]) != []
    assert content["weights"]["float16"] == {}
    plain = variant_of(**{**keys, "spare": []}, backend="gguf", weights="q8_0")
    assert with_recommended(plain, tmp_path / "none.yaml") is plain
    with pytest.raises(UserError, match="none.yaml is missing: run `dvc repro sensitivity_layers`"):
        with_recommended(variant_of(**keys, **chosen), tmp_path / "none.yaml")


CHOSEN = ["conv_in", "time_embedding.linear_2", "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"]


def test_pasted_into_diffusers_it_is_the_same_size_as_our_variant(tiny_model, tmp_path):
    """Layers in diffusers' own words, on its own loading, against a variant that spares them."""
    config = TorchAoConfig(Int8WeightOnlyConfig(), **eval(f"dict({paste(CHOSEN)['diffusers']})"))
    theirs = UNet2DConditionModel.from_pretrained(
        tiny_model / "unet", quantization_config=config, torch_dtype=torch.float32
    )
    keys = {"name": "v", "label": "V", "backend": "torchao", "weights": "int8", "compute": "float32"}
    backend, sizes = BACKENDS["torchao"].load_module(), []
    for spare in (CHOSEN, []):
        variant, folder = variant_of(**keys, spare=spare, components=["denoiser"]), tmp_path / str(len(spare))
        folder.mkdir()
        backend.quantize(tiny_model, variant, folder)
        sizes.append(memory_bytes(backend.load(folder, variant, "cpu").unet))
    assert memory_bytes(theirs) == sizes[0] > sizes[1]


PASTED = """\
import json, sys, bitsandbytes, torch
from accelerate import init_empty_weights
from diffusers import BitsAndBytesConfig, UNet2DConditionModel
from diffusers.quantizers.bitsandbytes.utils import replace_with_bnb_linear

config = BitsAndBytesConfig(PASTE, load_in_4bit=True)
with init_empty_weights():
    network = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(sys.argv[1]))
replace_with_bnb_linear(network, config.llm_int8_skip_modules, quantization_config=config)
names = [name for name, layer in network.named_modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)]
print(json.dumps(names))
"""


def test_pasted_into_other_libraries_they_convert_the_same_layers(tiny_model, tmp_path):
    """bitsandbytes as diffusers replaces layers, in a program without this project; torchao by its own filter."""
    keys = {"name": "v", "label": "V", "backend": "bitsandbytes", "weights": "nf4", "components": ["denoiser"]}
    BACKENDS["bitsandbytes"].load_module().quantize(tiny_model, variant_of(**keys, spare=CHOSEN), tmp_path)
    ours = json.loads((tmp_path / "unet/quantization.json").read_text(encoding="utf-8"))["linear"]
    script = PASTED.replace("PASTE", paste(CHOSEN)["bitsandbytes"])
    words = [sys.executable, "-c", script, str(tiny_model / "unet")]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1]) == ours
    chosen = eval(f"dict({paste(CHOSEN)['torchao']})")["filter_fn"]
    network = empty_component(tiny_model, "unet")
    assert [name for name, layer in network.named_modules() if chosen(layer, name)] == ours


def test_a_second_run_writes_the_same_bytes(project, reports, monkeypatch):
    before = (project / "reports/tiny/sensitivity/components.json").read_bytes()
    run(project, "components", monkeypatch)
    assert (project / "reports/tiny/sensitivity/components.json").read_bytes() == before


@pytest.fixture(scope="module")
def studio(project) -> Studio:
    data = project / "data/runs/tiny"
    arguments = {"num_inference_steps": 3, "guidance_scale": 7.5}
    return Studio(
        data / "models/base", data / "calibration.safetensors", data / "noise.safetensors", "cpu", arguments, {}
    )


CAT = Prompt("animal", "A cat", "animal", "simple", 43, "study")


def test_what_is_watched_swapped_for_itself_and_replayed_is_the_same_image(studio, pipeline):
    """Protects the comparison with the images of `generate`: the same pixels, with recorder and replay too."""
    noise = read_noise(studio.noise, "animal")
    whole = np.asarray(generate_image(pipeline, "fp32", CAT.prompt, noise, CAT.seed, studio.arguments))
    run = generate(studio, pipeline, CAT)
    assert np.array_equal(run.image, whole)
    other = load_pipeline(studio.base)
    texts = {"text_encoder": run.answers["text_encoder"]}
    swapped = generate(studio, pipeline, CAT, swapped={"unet": other.unet}, replayed=texts)
    assert np.array_equal(swapped.image, whole) and torch.equal(swapped.latents, run.latents)
    replayed = texts | {"unet": run.answers["unet"]}
    assert np.array_equal(generate(studio, pipeline, CAT, swapped={"vae": other.vae}, replayed=replayed).image, whole)
    for window in (range(4, 4), range(1, 3)):
        around = in_window(other.unet, window, run.answers["unet"], "unet", texts)
        assert torch.equal(generate_answered(studio, pipeline, CAT, "FP32", around).latents, run.latents)


def test_a_format_that_breaks_a_network_is_named(studio, pipeline):
    broken = load_component(studio.base, "vae", "float32")
    broken.decoder.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="format 'int2' .* NaN or infinity in the decoded image"):
        generate(studio, pipeline, CAT, "int2", swapped={"vae": broken})


def test_as_many_prompts_are_taken_as_there_are(project, monkeypatch):
    """Protects a run with few prompts from failing."""
    monkeypatch.chdir(project)
    params = load_params()
    many = params.model_copy(update={"sensitivity": params.sensitivity.model_copy(update={"images": 9})})
    assert [prompt.id for prompt in sensitivity_prompts(many)] == ["landscape", "animal", "fantasy"]
    assert [prompt.id for prompt in sensitivity_prompts(params)] == ["landscape", "animal"]


def test_the_ranking_needs_inputs(project, tmp_path, monkeypatch):
    """A calibration file without U-Net inputs is one message."""
    inputs = read_calls(project / "data/runs/tiny/calibration.safetensors")
    other = shutil.copytree(project, tmp_path / "project")
    write_calls(other / "data/runs/tiny/calibration.safetensors", {"vae": inputs["vae"]})
    with pytest.raises(UserError, match="no calibration calls of the denoiser"):
        run(other, "layers", monkeypatch)
