"""Files of a model that make no sense are one message when the model is brought, whatever is in them."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from safetensors.torch import load_file, save_file

from stages.lib.models.assembly import load_companions
from stages.lib.models.bringing import write_base
from stages.lib.models.components import empty_component, load_component
from stages.lib.models.kinds import check_kind, kind_of, kind_of_index
from stages.lib.project.errors import UserError
from stages.lib.project.sections import FolderModel
from tests.any_input import edited, one_message, spliced, within_limits
from tests.models.test_pipelines import INDEX


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """What takes seconds to import is imported before anything is timed."""
    check_kind(kind_of_index(INDEX, INDEX.keys(), "here"))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@given(edited(INDEX))
def test_any_index_of_a_pipeline(document):
    """Protects every component's name, library and class, which become folders and imports."""
    read_index(json.dumps(document).encode())


@given(spliced(json.dumps(INDEX).encode()))
def test_any_text_in_place_of_an_index(data):
    read_index(data)


def read_index(data: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model_index.json").write_bytes(data)
        for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "feature_extractor", "safety_checker"):
            (folder / part).mkdir()

        def read() -> None:
            kind = kind_of(folder)
            check_kind(kind)
            assert set(kind.networks) | set(kind.companions) == set(kind.parts)

        with within_limits():
            one_message(read)


def edit(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | keys), encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "keys", "said"),
    [
        ("unet/config.json", {"in_channels": 10**6}, "tensor 'conv_in.weight' has"),
        ("unet/config.json", {"cross_attention_dim": 10**6}, "elements, by its config.json"),
        ("unet/config.json", {"layers_per_block": 10**6}, "describes more than 10000 layers"),
        ("unet/config.json", {"block_out_channels": [10**18, 10**18]}, "unet is no sound UNet2DConditionModel"),
        ("unet/config.json", {"block_out_channels": "wide"}, "unet is no sound UNet2DConditionModel"),
        ("unet/config.json", {"norm_num_groups": 0}, "unet is no sound UNet2DConditionModel"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}, "describes more than 10000 layers"),
        ("text_encoder/config.json", {"hidden_size": None}, "text_encoder is no sound CLIPTextModel"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": -5}, "scheduler is no sound PNDMScheduler"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none"}, "scheduler is no sound PNDMScheduler"),
        ("tokenizer/tokenizer.json", {"model": 1}, "tokenizer is no sound CLIPTokenizer"),
    ],
)
def test_a_configuration_without_sense_is_found_when_the_model_is_brought(model, tmp_path, path, keys, said):
    """Protects hours of a run that fails at its first network."""
    edit(model / path, **keys)
    with pytest.raises(UserError) as caught:
        write_base(FolderModel(label="A model", source="folder", path=str(model)), "it", model, tmp_path / "out")
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("channels", [8, 9])  # of InstructPix2Pix, of inpainting
def test_a_denoiser_that_takes_an_image_besides_the_noise_is_refused(model, tmp_path, channels):
    """Protects from a blame of `arguments`, hours later: its weights fit, but nothing gives it that image."""
    weights = load_file(model / "unet/diffusion_pytorch_model.safetensors")
    first = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([first, first.new_zeros(len(first), channels - 4, 3, 3)], dim=1)
    save_file(weights, model / "unet/diffusion_pytorch_model.safetensors", {"format": "pt"})
    edit(model / "unet/config.json", in_channels=channels)
    with pytest.raises(UserError) as caught:
        write_base(FolderModel(label="A model", source="folder", path=str(model)), "it", model, tmp_path / "out")
    assert f"{model}/unet/config.json: 'in_channels' is {channels} and 'out_channels' 4" in str(caught.value)
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".out*"))


def test_a_tokenizer_without_a_length_takes_that_of_its_encoder(model):
    """Protects from a tokenizer that gives an encoder more tokens than it has positions for."""
    from stages.lib.models.assembly import assemble

    path = model / "tokenizer/tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "model_max_length"}), "utf-8")
    assert load_companions(model)["tokenizer"].model_max_length > 10**9
    networks = {name: load_component(model, name, "float32") for name in ("text_encoder",)}
    assert assemble(model, networks).tokenizer.model_max_length == 16


def test_what_makes_sense_is_left_alone(model):
    """Protects every other test here from a check that refuses everything."""
    assert set(load_companions(model)) == {"tokenizer", "scheduler", "feature_extractor"}
    assert empty_component(model, "unet").config["in_channels"] == 4
