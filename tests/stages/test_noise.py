"""The initial latents: the same for every variant, machine and order of the prompts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.generation.noise import image_generator, initial_latents, read_noise
from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.noise import latent_shape
from tests.command import run
from tests.conftest import PROJECT
from tests.tiny_models import ARGUMENTS
from tests.tiny_project import PARAMS

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
    assert done.stderr.startswith("error: ") and "has no model_index.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("sd15-oblong", (4, 16, 24)), ("flux", (64, 64)), ("sd3", (16, 16, 16)), ("sana", (4, 16, 16))],
)
def test_the_shape_is_the_pipelines_own(tiny_kind, tmp_path, kind, shape):
    """Protects images that are not square, packed latents, and a size that is asked for, whatever any config says."""
    arguments = json.dumps(ARGUMENTS.get(kind, {}))
    text = PARAMS.replace("path: data/tiny", f"path: data/tiny, arguments: {arguments}")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert latent_shape(tiny_kind(kind), load_params(tmp_path / "params.yaml")) == shape


def test_noise_of_the_generator_goes_on_where_the_latents_ended():
    """Protects schedulers that draw in their steps: as in diffusers, they do not get the initial noise once more."""
    again = torch.Generator().manual_seed(5)
    first, second = torch.randn(1, 8, generator=again), torch.randn(1, 8, generator=again)
    assert torch.equal(first, initial_latents((8,), 5)) and not torch.equal(first, second)
    assert torch.equal(torch.randn(1, 8, generator=image_generator((8,), 5)), second)


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
