"""Stage generate: the same bytes every time, each image on its own, and no image rather than a wrong one."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import generate
from stages.lib.generation.noise import read_noise
from stages.lib.generation.recipe import Recipe
from stages.lib.generation.safety import decide
from stages.lib.generation.sampling import generate_image
from stages.lib.project.errors import UserError
from stages.lib.project.worker_pool import WorkerPool
from stages.lib.quality.metrics import psnr_db
from tests.command import run
from tests.tiny_project import PROMPTS, write_models, write_settings

ARGUMENTS = ["--variant", "fp32", "--noise", "data/runs/tiny/noise.safetensors"]


CALL = {"num_inference_steps": 3, "guidance_scale": 7.5}


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the model and the noise that generate reads."""
    folder = tmp_path_factory.mktemp("generate") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32",))
    return folder


@pytest.fixture
def pipeline(project: Path):
    """The FP32 pipeline, loaded anew: tests change it."""
    from stages.lib.formats.torch import backend
    from stages.lib.project.params import load_params

    variant = load_params(project / "params.yaml").variant("fp32")
    return backend.load(project / "data/runs/tiny/models/fp32", variant, "cpu")


@pytest.fixture
def usual_torch():
    """Put back the settings of this process that the stage changes."""
    import torch

    yield
    torch.use_deterministic_algorithms(False)


def generate_in_a_process(project: Path, output: str, threads: int) -> dict[str, bytes]:
    """Run the stage as DVC does; the bytes of each file it wrote."""
    words = [*ARGUMENTS, "--model", "data/runs/tiny/models/fp32", "--output", output]
    done = run(project, "stages.generate", *words, OMP_NUM_THREADS=str(threads))
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in sorted((project / output).iterdir())}


def test_two_runs_give_equal_bytes_and_other_thread_counts_nearly_the_same(project: Path) -> None:
    """Protects reproducibility: the same machine the same bytes, 1 and 2 threads within 60 dB."""
    first = generate_in_a_process(project, "data/a/fp32", threads=1)
    assert sorted(first) == ["animal.png", "fantasy.png", "images.json", "landscape.png", "latents.safetensors"]
    assert generate_in_a_process(project, "data/b/fp32", threads=1) == first
    generate_in_a_process(project, "data/c/fp32", threads=2)
    for id in PROMPTS:
        one, two = (np.asarray(Image.open(project / f"data/{run}/fp32/{id}.png")) for run in "ac")
        assert one.shape == (32, 32, 3) and one.std() > 1
        difference_db = psnr_db(one, two)
        assert difference_db is None or difference_db >= 60
    listing = json.loads(first["images.json"])
    assert (listing["variant"], listing["device"], listing["compute"]) == ("fp32", "cpu", "float32")
    assert [item["id"] for item in listing["per_image"]] == list(PROMPTS)
    assert listing["threads"] == 1


def test_order_and_number_of_prompts_do_not_change_an_image(project: Path, usual_torch, tmp_path: Path) -> None:
    """Protects pairing: an image depends on its own prompt and noise alone. Of processes: test_floor.py."""
    from stages.lib.project.params import load_params
    from stages.lib.project.prompts import load_prompts

    params = load_params(project / "params.yaml")
    noise = project / "data/runs/tiny/noise.safetensors"
    model = project / "data/runs/tiny/models/fp32"
    recipe = Recipe(model, params.variant("fp32"), "cpu", noise, params.general_arguments)
    prompts = load_prompts(project / "data/prompts.csv", None)
    generated = {}
    for name, chosen in {"all": prompts, "reversed": prompts[::-1], "one": prompts[1:2]}.items():
        (tmp_path / name).mkdir()
        entries, _ = generate.generate_all(recipe, chosen, WorkerPool(1, 1), tmp_path / name)
        assert [entry["id"] for entry in entries] == [prompt.id for prompt in chosen]
        generated[name] = {entry["id"]: entry["sha256"] for entry in entries}
    assert generated["reversed"] == generated["all"]
    assert generated["one"]["animal"] == generated["all"]["animal"]
    assert len(set(generated["all"].values())) == 3


def test_a_image_is_the_one_that_diffusers_generates(project: Path, pipeline) -> None:
    """Protects the generation path: decoding, range and rounding are those of StableDiffusionPipeline."""
    noise = read_noise(project / "data/runs/tiny/noise.safetensors", "animal")
    image = generate_image(pipeline, "fp32", "A cat", noise, 43, CALL)
    pipeline.safety_checker = None
    expected = pipeline("A cat", latents=noise, num_inference_steps=3, guidance_scale=7.5).images[0]
    assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_a_flagged_image_is_not_changed(project: Path, pipeline) -> None:
    """Protects images from the safety checker: thresholds below every cosine flag everything and blacken nothing."""
    noise = read_noise(project / "data/runs/tiny/noise.safetensors", "animal")
    before = generate_image(pipeline, "fp32", "A cat", noise, 43, CALL)
    pixels = np.asarray(before).copy()
    pipeline.safety_checker.concept_embeds_weights.data.fill_(-2)
    assert decide(pipeline, before).flagged
    assert np.array_equal(np.asarray(before), pixels)
    assert np.array_equal(np.asarray(generate_image(pipeline, "fp32", "A cat", noise, 43, CALL)), pixels)
    pipeline.safety_checker.concept_embeds_weights.data.fill_(2)
    assert not decide(pipeline, before).flagged


@pytest.mark.parametrize(
    ("part", "weights", "words"),
    [
        ("unet", "conv_out.bias", "denoised latents"),
        ("vae", "decoder.conv_out.bias", "decoded image"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_give_no_number_end_without_a_image(
    project: Path, usual_torch, tmp_path: Path, monkeypatch, part: str, weights: str, words: str, value: float
) -> None:
    """Protects against black images counted as success, and against half a folder."""
    from safetensors.torch import load_file, save_file

    model = tmp_path / "fp32"
    shutil.copytree(project / "data/runs/tiny/models/fp32", model)
    path = model / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors[weights][0] = value
    save_file(tensors, path)
    monkeypatch.chdir(project)
    output = tmp_path / "images/fp32"
    monkeypatch.setattr(sys, "argv", ["generate", *ARGUMENTS, "--model", str(model), "--output", str(output)])
    with pytest.raises(UserError, match=f"'fp32'.*{words}.*'A hill'.*compute: float32"):
        generate.main()
    assert list(output.parent.iterdir()) == []
