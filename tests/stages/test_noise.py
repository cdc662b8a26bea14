"""The initial latents: the same for every variant, machine and order of the prompts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.generation.noise import initial_latents, read_noise
from stages.lib.project.errors import UserError
from stages.noise import latent_shape
from tests.command import run
from tests.conftest import PROJECT

OUTPUT = "data/runs/tiny/noise.safetensors"
PROMPTS = "id,prompt,kind,complexity,seed,set\na,one,x,low,42,study\nb,two,x,low,43,study\nc,three,x,low,44,extended\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with three prompts in two sets."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "prompts.csv").write_text(PROMPTS, encoding="utf-8")
    return tmp_path


def generate(project: Path, base: Path):
    return run(project, "stages.noise", "--base", str(base), "--output", OUTPUT)


def test_every_prompt_gets_the_noise_of_its_own_seed(project, tiny_model):
    """Protects the pairing of images: torch's CPU generator, seeded anew for each, in FP32."""
    done = generate(project, tiny_model)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("noise: 3 images, latents 4 x 16 x 16, ") and done.stdout.count("\n") == 1
    stored = load_file(project / OUTPUT)
    assert sorted(stored) == ["a", "b", "c"]
    for id, seed in (("a", 42), ("b", 43), ("c", 44)):
        expected = torch.randn(1, 4, 16, 16, generator=torch.Generator("cpu").manual_seed(seed))
        assert stored[id].shape == (4, 16, 16) and stored[id].dtype == torch.float32
        assert torch.equal(read_noise(project / OUTPUT, id), expected)


def test_two_runs_write_the_same_bytes(project, tiny_model):
    """Protects DVC's cache: nothing downstream reruns."""
    generate(project, tiny_model)
    first = (project / OUTPUT).read_bytes()
    generate(project, tiny_model)
    assert (project / OUTPUT).read_bytes() == first


def test_the_noise_is_standard_normal_and_leaves_the_global_generator_alone():
    """Protects the sampler, which expects unit variance, and other random numbers of the process."""
    state = torch.get_rng_state()
    latents = initial_latents((4, 64, 64), seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert abs(latents.mean().item()) < 0.03 and abs(latents.std().item() - 1) < 0.03


def test_one_set_gives_only_its_noise(project, tiny_model):
    """Protects small runs."""
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("[study, extended]", "[extended]"), encoding="utf-8")
    generate(project, tiny_model)
    assert list(load_file(project / OUTPUT)) == ["c"]


def test_an_unknown_set_is_one_message_and_writes_nothing(project, tiny_model):
    """Protects against a run without images."""
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("[study, extended]", "[studdy]"), encoding="utf-8")
    done = generate(project, tiny_model)
    assert done.returncode == 1
    assert done.stderr == (
        "error: params.yaml: 'prompts.sets' names 'studdy', which no row of data/prompts.csv belongs to: "
        "use some of study, extended\n"
    )
    assert not (project / OUTPUT).exists()


def test_a_missing_base_model_is_one_message(project):
    """Protects a user who runs the stage by hand."""
    done = generate(project, project / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "unet/config.json is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_height_and_width_may_differ(tmp_path):
    """Protects models whose U-Net declares its sample size as a pair."""
    (tmp_path / "unet").mkdir()
    config = tmp_path / "unet" / "config.json"
    config.write_text(json.dumps({"in_channels": 4, "sample_size": [8, 16]}), encoding="utf-8")
    assert latent_shape(tmp_path) == (4, 8, 16)


@pytest.mark.parametrize("config", [{"in_channels": 4}, {"sample_size": 8}, {"in_channels": 4, "sample_size": 0}])
def test_a_model_without_a_latent_shape_is_one_message(tmp_path, config):
    """Protects against a failure inside torch."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="'in_channels' and 'sample_size' give the latent shape"):
        latent_shape(tmp_path)


def test_noise_of_an_unknown_prompt_or_a_broken_file_is_one_message(tmp_path):
    """Protects later stages, which read one tensor at a time."""
    path = tmp_path / "noise.safetensors"
    with pytest.raises(UserError, match="is missing: run `dvc repro noise`"):
        read_noise(path, "a")
    save_file({"a": torch.zeros(4, 2, 2)}, path)
    with pytest.raises(UserError, match="holds no noise for prompt 'b'"):
        read_noise(path, "b")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is broken"):
        read_noise(path, "a")
