"""A model folder is complete and sound, or one message says what is wrong with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.models.folder_checks import check_pipeline_folder
from stages.lib.models.kinds import kind_of, kind_of_index
from stages.lib.models.pipelines import (
    adapters_beside,
    copy_needed,
    listed_files,
    needed_files,
    source_folder,
)
from stages.lib.project.errors import LONGEST_MESSAGE, UserError
from stages.lib.project.sections import FolderModel
from tests.conftest import PROJECT

UNET = "unet/diffusion_pytorch_model.safetensors"
# What the repository of Stable Diffusion v1.5 holds, in kind.
SD15 = [
    *[
        "README.md",
        "model_index.json",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "v1-5-pruned-emaonly.safetensors",
    ],
    *["feature_extractor/preprocessor_config.json", "scheduler/scheduler_config.json"],
    *["tokenizer/merges.txt", "tokenizer/vocab.json"],
    *["tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json"],
    *[
        f"{component}/{name}"
        for component in ("text_encoder", "safety_checker")
        for name in ("config.json", "model.safetensors", "model.fp16.safetensors", "pytorch_model.bin")
    ],
    *[
        f"{component}/{name}"
        for component in ("unet", "vae")
        for name in (
            "config.json",
            "diffusion_pytorch_model.bin",
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.non_ema.safetensors",
        )
    ],
]
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "safety_checker/model.safetensors",
}


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def needed_of(paths: list[str], variant: str | None = None) -> dict[str, str]:
    """What is brought of a repository with these files, by the names that it is brought under."""
    kind = kind_of_index(INDEX, {path.partition("/")[0] for path in paths if "/" in path}, "here")
    return needed_files(paths, kind, variant)


def message(folder: Path) -> str:
    """The error that the check gives; it always names the folder."""
    with pytest.raises(UserError) as caught:
        check_pipeline_folder(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_one_full_precision_set_of_weights_is_chosen_for_each_component():
    """Protects a download from five times the bytes."""
    needed = needed_of(SD15)
    assert {path for path in needed if path.endswith((".safetensors", ".bin", ".ckpt"))} == WEIGHTS
    assert {"model_index.json", "tokenizer/merges.txt", "tokenizer/vocab.json"} <= set(needed)
    assert not {"README.md", "v1-5-pruned.safetensors"} & set(needed)


def test_sharded_weights_come_with_their_index_and_without_half_precision_shards():
    """Protects models whose weights are in several files."""
    stem = "unet/diffusion_pytorch_model"
    shards = [f"{stem}-00001-of-00002.safetensors", f"{stem}-00002-of-00002.safetensors"]
    others = [f"{stem}.fp16-00001-of-00002.safetensors", f"{stem}.fp16.safetensors.index.json"]
    paths = [path for path in SD15 if path != UNET] + [*shards, f"{stem}.safetensors.index.json", *others]
    needed = [path for path in needed_of(paths) if path.startswith("unet/")]
    assert needed == sorted(["unet/config.json", *shards, f"{stem}.safetensors.index.json"])
    with pytest.raises(UserError, match="here lacks unet/diffusion_pytorch_model-00001-of-00002"):
        needed_of([path for path in paths if path != shards[0]])


@pytest.mark.parametrize(
    ("shard", "index"),
    [
        ("{stem}.fp16-{number}.safetensors", "{stem}.safetensors.index.fp16.json"),
        ("{stem}-{number}.fp16.safetensors", "{stem}.safetensors.fp16.index.json"),
        ("{stem}.fp16-{number}.safetensors", "{stem}.fp16.safetensors.index.json"),
    ],
)
def test_files_of_half_precision_are_brought_under_plain_names_where_there_are_no_others(shard, index):
    """Protects the many repositories that hold nothing else, in each way of naming shards that is in use."""
    stem = "unet/diffusion_pytorch_model"
    numbers = ["00001-of-00002", "00002-of-00002"]
    shards = [shard.format(stem=stem, number=number) for number in numbers]
    others = [path for path in SD15 if not path.startswith("unet/") or path.endswith("config.json")]
    needed = needed_of([*others, *shards, index.format(stem=stem)])
    assert [needed[f"{stem}-{number}.safetensors"] for number in numbers] == shards
    assert needed[f"{stem}.safetensors.index.json"] == index.format(stem=stem)


def test_half_precision_is_taken_where_it_is_asked_for():
    """Protects `variant: fp16`, and the remedy that names it."""
    assert needed_of(SD15, "fp16")[UNET] == UNET.replace(".safetensors", ".fp16.safetensors")
    sharded = [path for path in SD15 if path != UNET] + ["unet/diffusion_pytorch_model-00001-of-00002.safetensors"]
    with pytest.raises(UserError, match="bring the complete model, or take its fp16 files with `variant: fp16`"):
        needed_of(sharded)
    plain = [path for path in SD15 if "unet/" not in path or "fp16" not in path]  # the others have both
    assert needed_of(plain, "fp16")[UNET] == UNET
    with pytest.raises(UserError, match="here has no fp16 weights: remove `variant: fp16`"):
        needed_of([path for path in SD15 if "fp16" not in path], "fp16")


def test_shards_of_half_precision_are_copied_with_an_index_that_names_them(model, tmp_path):
    """Protects later stages, which know plain names alone."""
    stem = "unet/diffusion_pytorch_model"
    (model / UNET).rename(model / f"{stem}.fp16-00001-of-00001.safetensors")
    names = load_file(model / f"{stem}.fp16-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(names, "diffusion_pytorch_model.fp16-00001-of-00001.safetensors")}
    (model / f"{stem}.safetensors.index.fp16.json").write_text(json.dumps(index), encoding="utf-8")
    check_pipeline_folder(model)
    (tmp_path / "copy").mkdir()
    copy_needed(model, tmp_path / "copy", needed_files(listed_files(model), kind_of(model)))
    check_pipeline_folder(tmp_path / "copy")
    assert (tmp_path / "copy" / f"{stem}-00001-of-00001.safetensors").is_file()


def test_a_model_that_brings_code_is_refused():
    """Protects the machine."""
    with pytest.raises(UserError, match="brings code of its own"):
        needed_of([*SD15, "unet/my_unet.py"])


def test_adapters_that_lie_beside_are_named():
    """Protects a user who believes that a LoRA in the folder is used."""
    beside = ["pytorch_lora_weights.safetensors", "unet/style_LoRA.safetensors"]
    assert adapters_beside([*SD15, *beside]) == beside


def test_a_sound_folder_passes_whatever_else_lies_in_it(model):
    """Protects folders that also hold a model card or other weights."""
    (model / "README.md").write_text("card", encoding="utf-8")
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    check_pipeline_folder(model)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_component_is_named(model, component):
    """Protects against a failure deep inside a later stage."""
    shutil.rmtree(model / component)
    assert f"has no component '{component}'" in message(model)


def test_a_model_may_lack_what_generation_does_not_need(model):
    """Protects fine-tunes, most of which come without a safety checker."""
    shutil.rmtree(model / "safety_checker")
    shutil.rmtree(model / "feature_extractor")
    check_pipeline_folder(model)


def test_a_safety_checker_without_its_feature_extractor_is_refused(model):
    """Protects against a traceback when the first image is judged."""
    shutil.rmtree(model / "feature_extractor")
    assert "has a safety checker and no feature_extractor" in message(model)


@pytest.mark.parametrize(
    ("kind", "component"), [("sdxl", "text_encoder_2"), ("sdxl", "tokenizer"), ("sd3", "text_encoder_3")]
)
def test_a_component_that_the_index_names_is_not_left_out_silently(tiny_kind, tmp_path, kind, component):
    """Protects images of SDXL from being those of one of its text encoders; who means it writes it into the index."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_kind(kind), folder)
    shutil.rmtree(folder / component)
    said = message(folder)
    assert f"has no component '{component}'" in said and "or write [null, null] for it into model_index.json" in said


def test_a_component_that_the_class_does_not_have_names_the_class(tiny_kind, tmp_path):
    """Protects SDXL from being taken for Stable Diffusion 1."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_kind("sdxl"), folder)
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) | {"_class_name": "StableDiffusionPipeline"}
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "'_class_name' is 'StableDiffusionPipeline', which has no component 'text_encoder_2': write" in message(
        folder
    )


def test_a_folder_with_one_file_of_weights_says_how_to_name_it(tmp_path):
    """Protects the owner of a fine-tune that is one file, in a folder."""
    (tmp_path / "dreamy.safetensors").touch()
    assert "if all weights are in dreamy.safetensors, write `source: file`" in message(tmp_path)


@pytest.mark.parametrize("component", ["unet", "text_encoder", "scheduler"])
def test_a_component_that_the_index_leaves_null_is_missed_where_nothing_else_has_its_role(model, component):
    """Protects against a pipeline that cannot generate."""
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    index[component] = [None, None]
    (model / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    what = {"unet": "network that denoises", "text_encoder": "text encoder", "scheduler": "scheduler"}
    assert f"has no {what[component]}: " in message(model)


@pytest.mark.parametrize(
    ("component", "entry"),
    [("unet", ["my_unet", "MyUNet"]), ("unet", ["torch", "Tensor"]), ("tokenizer", ["transformers", "NoTokenizer"])],
)
def test_a_class_that_is_neither_librarys_is_refused(model, component, entry):
    """Protects against code that nobody has looked at."""
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    index[component] = entry
    (model / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert f"component '{component}' is {json.dumps(entry)}, a class of neither" in message(model)


@pytest.mark.parametrize("name", ["MyPipeline", "AutoencoderKL", ["pipeline", "MyPipeline"], None])
def test_a_pipeline_that_diffusers_does_not_have_is_refused_by_its_name(model, name):
    """Protects a user of community code, or of an older diffusers."""
    path = model / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) | {"_class_name": name}
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "'_class_name' is " in message(model)


def test_a_class_whose_packages_are_not_here_names_them(model):
    """Protects a user of Kolors from looking for another version of diffusers."""
    from diffusers.utils import is_sentencepiece_available

    if is_sentencepiece_available():
        pytest.skip("the package is there")
    path = model / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) | {"_class_name": "KolorsPipeline"}
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "KolorsPipeline requires the sentencepiece library" in message(model)


def test_an_endless_name_is_shown_in_part(model):
    """Protects the reader of a message, whose beginning says where and whose end says what to do."""
    path = model / "model_index.json"
    path.write_text(json.dumps({"_class_name": "é" * 25_000}), encoding="utf-8")
    told = message(model)
    assert len(told) <= LONGEST_MESSAGE
    assert "'_class_name' is 'éé" in told and told.endswith("install a version that has it, or choose another model")


def test_a_pipeline_without_a_prompt_is_refused(model):
    """Protects a user who points to a model that makes images of nothing, or of images."""
    path = model / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) | {"_class_name": "DDPMPipeline"}
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "takes no prompt" in message(model)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("model_index.json", "has no model_index.json"),
        ("unet/config.json", "has no unet/config.json"),
        (
            "tokenizer/tokenizer.json",
            "has no tokenizer/tokenizer.json, nor tokenizer/merges.txt with tokenizer/vocab.json",
        ),
        (UNET, "has no safetensors with the weights of component 'unet'"),
    ],
)
def test_a_missing_file_is_named(model, path, said):
    """Protects against half copies."""
    (model / path).unlink()
    assert said in message(model)


def test_the_folder_of_a_model_is_found_near_the_one_that_was_named(model, tmp_path, monkeypatch):
    """Protects who names the Hub's cache, the folder above, a file in it, or one by their home."""
    (tmp_path / "above/snapshots").mkdir(parents=True)
    (tmp_path / "above/snapshots/0123").symlink_to(model)
    assert f"{tmp_path / 'above/snapshots/0123'} has one: name that folder" in message(tmp_path / "above")
    assert "0123 has one" in message(tmp_path / "above/snapshots")
    monkeypatch.setenv("HOME", str(model.parent))
    assert source_folder(FolderModel(label="L", source="folder", path=f"~/{model.name}"), "l") == model
    with pytest.raises(UserError, match=r"'models.l.path' .* is not a folder: name the folder of model_index.json"):
        source_folder(FolderModel(label="L", source="folder", path=str(model / "model_index.json")), "l")


def test_a_link_that_leads_nowhere_is_named(model):
    """Protects a copy of the Hub's cache that has the links without the files."""
    (model / UNET).unlink()
    (model / UNET).symlink_to("../../blobs/0123")
    assert f"{UNET} is a link to ../../blobs/0123, which is not there" in message(model)


def test_weights_that_are_quantized_already_are_refused(model):
    """Protects from measuring what rounding does to rounded weights, and from a message about a missing GPU."""
    path = model / "unet/config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"quantization_config": {"load_in_4bit": True}}))
    assert "unet/config.json: 'quantization_config' says that its weights are quantized already" in message(model)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """Protects a user who mistyped a path."""
    assert "is not a folder" in message(tmp_path / "none")


def test_weights_that_are_only_pickle_are_refused(model):
    """Protects the machine: a pickle can run any code when it is loaded."""
    (model / UNET).rename(model / "unet" / "diffusion_pytorch_model.bin")
    said = message(model)
    assert "only as pickle (unet/diffusion_pytorch_model.bin)" in said and "safetensors" in said


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_weight_file_is_named(model, kept):
    """Protects against an interrupted copy, wherever it broke off."""
    content = (model / UNET).read_bytes()
    (model / UNET).write_bytes(content[:kept])
    said = message(model)
    assert f"{UNET} is truncated or corrupt" in said and "bring the model again" in said


def test_a_truncated_weight_file_beside_a_whole_one_of_16_bits_says_how_to_take_that(model):
    """Protects a user whose copy of the large files broke off and who has the small ones."""
    shutil.copyfile(model / UNET, (model / UNET).with_suffix(".fp16.safetensors"))
    (model / UNET).write_bytes((model / UNET).read_bytes()[:-1])
    assert "bring the model again, or take its fp16 files with `variant: fp16` in params.yaml" in message(model)
    (model / UNET).unlink()
    (model / UNET).with_suffix(".fp16.safetensors").write_bytes(b"")
    assert "variant" not in message(model)


def test_bytes_that_are_no_safetensors_are_named(model):
    """Protects against a file that was replaced by something else, such as a Git LFS pointer."""
    (model / UNET).write_text("version https://git-lfs.github.com/spec/v1\n" * 3, encoding="utf-8")
    assert f"{UNET} is truncated or corrupt" in message(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(model, value):
    """Protects against images that are black or NaN."""
    weights = load_file(model / UNET)
    weights["conv_in.bias"][3] = value
    save_file(weights, model / UNET)
    assert f"{UNET}: weight 'conv_in.bias' holds NaN or infinity" in message(model)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' * 5000, b'{"a": "\\ud800"}', b"9" * 5000],
)
def test_a_broken_configuration_is_named(model, content):
    """Protects against a traceback of the JSON reader."""
    (model / "scheduler" / "scheduler_config.json").write_bytes(content)
    assert "scheduler/scheduler_config.json is not valid JSON" in message(model)


@pytest.mark.parametrize("path", ["scheduler/scheduler_config.json", "unet/config.json"])
def test_an_empty_configuration_is_not_taken_for_defaults(model, path):
    """Protects images from another schedule than the model was trained for."""
    (model / path).write_text("{}", encoding="utf-8")
    assert f"{path} is empty, which would mean defaults" in message(model)


def test_components_that_are_links_to_folders_are_seen(model, tmp_path):
    """Protects models that are put together from links, as caches do."""
    (model / "unet").rename(tmp_path / "elsewhere")
    (model / "unet").symlink_to(tmp_path / "elsewhere")
    assert UNET in listed_files(model)
    check_pipeline_folder(model)


@pytest.mark.parametrize(
    "index",
    [{}, {"weight_map": {}}, {"weight_map": {"conv_in.weight": "../../secret.safetensors"}}],
)
def test_an_index_of_shards_names_them_and_nothing_else(model, index):
    """Protects against a traceback, and files outside the model from being read."""
    (model / UNET).rename(model / "unet/diffusion_pytorch_model-00001-of-00001.safetensors")
    (model / f"{UNET}.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "'weight_map' does not name the shards beside it" in message(model)


def test_a_configuration_that_is_no_mapping_is_named(model):
    """Protects against a message about the network when a file is wrong."""
    (model / "unet/config.json").write_text("[]", encoding="utf-8")
    assert "unet/config.json is no JSON mapping" in message(model)


def test_weights_in_eight_bit_floats_are_refused(model):
    """Protects against a traceback: PyTorch cannot compute in them, and the inventory has no name for them."""
    weights = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(model / UNET).items()}
    save_file(weights, model / UNET)
    assert "is float8_e4m3fn: give the model in float16" in message(model)


def test_a_stage_that_loads_the_model_says_nothing(tiny_model):
    """Protects the one line per stage from notices and bars of the libraries."""
    code = (
        "from pathlib import Path\n"
        "from stages.lib.project.errors import run_stage\n"
        "from stages.lib.models.components import load_component\n"
        "from stages.lib.models.kinds import kind_of\n"
        f"folder = Path({str(tiny_model)!r})\n"
        "run_stage(lambda: [load_component(folder, name, 'float32') for name in kind_of(folder).networks])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
