"""Counts of published models are exact, and a mistake in a folder of configurations is one message."""

import json
import shutil
from pathlib import Path

import pytest

from stages.lib.models.architecture import describe
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from tests.conftest import PROJECT

SD15 = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "safety_checker": 303_981_588}
SDXL = {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840}


@pytest.fixture(scope="module")
def sd15() -> dict:
    return describe(PROJECT / "data/architectures/sd15")


def counts(architecture: dict) -> dict[str, int]:
    return {item["component"]: item["parameters"] for item in architecture["components"]}


def test_stable_diffusion_v1_5_is_counted_to_the_last_parameter(sd15):
    """Protects the configurations: the counts are those of the published weights, 5226.96 MiB in FP32."""
    assert counts(sd15) == SD15
    assert sd15["parameters"] == 1_370_216_895
    assert sd15["stored_mib"]["float32"] == pytest.approx(5226.96, abs=0.005)
    study = read_json(PROJECT / "data/study/stable_diffusion_v1_5.json")["components"]
    assert {name: item["parameters"] for name, item in study.items()} == SD15


def test_sdxl_is_counted_to_the_last_parameter():
    """Protects the second architecture: two text encoders, no safety checker."""
    sdxl = describe(PROJECT / "data/architectures/sdxl")
    assert counts(sdxl) == SDXL
    assert sdxl["parameters"] == sum(SDXL.values())


T5, CLIP_L, CLIP_G = 4_762_310_656, 123_060_480, 694_659_840
TRANSFORMERS = {
    "sd35-medium": (2_243_171_520, [CLIP_L + 768 * 768, CLIP_G, T5]),
    "sd35-large": (8_056_627_520, [CLIP_L + 768 * 768, CLIP_G, T5]),
    "flux1-dev": (11_901_408_320, [CLIP_L, T5]),
    "pixart-sigma": (610_856_096, [T5]),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_are_counted_to_the_last_parameter(name):
    """Protects their configurations, and T5's words, which two layers share and which are counted once."""
    components = describe(PROJECT / "data/architectures" / name)["components"]
    assert [item["parameters"] for item in components if "T5" in item["network"] or "CLIP" in item["network"]] == (
        TRANSFORMERS[name][1]
    )
    assert components[0]["parameters"] == TRANSFORMERS[name][0]
    for item in components:
        assert sum(row["parameters"] for row in item["operators"]) == item["parameters"]


def test_int8_is_one_byte_a_weight_a_scale_a_channel_and_the_rest_fp32(tmp_path):
    """Protects the size of INT8, worked out by hand for one network of a single convolution each way."""
    config = {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [8], "in_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"], "latent_channels": 4,
        "layers_per_block": 1, "norm_num_groups": 4, "out_channels": 3, "sample_size": 8,
    }  # fmt: skip
    folder = write(tmp_path, {"vae": ["diffusers", "AutoencoderKL"]}, {"vae": config})
    (vae,) = describe(folder)["components"]
    by_operator = {row["operator"]: row for row in vae["operators"]}
    biases_and_norms = vae["parameters"] - weights(folder)[0]
    expected = weights(folder)[0] + 4 * weights(folder)[1] + 4 * biases_and_norms
    assert vae["stored_mib"]["int8"] * 2**20 == pytest.approx(expected, abs=1)
    assert vae["theoretical_mib"]["int8"] * 2**20 == vae["parameters"]
    assert sum(row["share_percent"] for row in by_operator.values()) == pytest.approx(100)
    assert sum(row["parameters"] for row in by_operator.values()) == vae["parameters"]


def weights(folder: Path) -> tuple[int, int]:
    """Numbers in matrices and kernels, and their output channels, from the shapes alone."""
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
    shapes = [item.shape for item in network.parameters() if item.ndim > 1]
    return sum(shape.numel() for shape in shapes), sum(shape[0] for shape in shapes)


def write(folder: Path, index: dict, configs: dict) -> Path:
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "X", **index}), encoding="utf-8")
    return folder


def test_a_missing_configuration_is_named(tmp_path):
    """Protects a total from a network that is silently not there."""
    folder = Path(shutil.copytree(PROJECT / "data/architectures/sdxl", tmp_path / "sdxl"))
    (folder / "text_encoder_2/config.json").unlink()
    with pytest.raises(UserError, match="text_encoder_2/config.json is missing"):
        describe(folder)


def test_a_class_that_is_neither_librarys_is_not_run(tmp_path):
    """Protects from code that a file names, and from a total without that network."""
    folder = write(tmp_path, {"transformer": ["my_code", "MyTransformer"]}, {"transformer": {}})
    with pytest.raises(UserError, match=r"component 'transformer' is \[\"my_code\", \"MyTransformer\"\], a class of"):
        describe(folder)
