"""Stage generate: the same bytes every time, each image on its own, and no image rather than a wrong one."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from stages import generate
from stages.lib.generation.image_folder import rgb_sha256
from stages.lib.generation.noise import read_noise
from stages.lib.generation.recipe import Order, Recipe
from stages.lib.generation.safety import decide
from stages.lib.generation.sampling import generate_image
from stages.lib.project.errors import UserError
from stages.lib.project.worker_pool import WorkerPool
from stages.lib.quality.metrics import psnr_db
from tests.command import run
from tests.tiny_project import PROMPTS, bytes_of, write_models, write_settings

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


def run_stage(project: Path, output: str, threads: int = 1, **variables: str) -> CompletedProcess:
    """Run the stage as DVC does, or as a launcher that sets these variables."""
    words = [*ARGUMENTS, "--model", "data/runs/tiny/models/fp32", "--output", output]
    return run(project, "stages.generate", *words, OMP_NUM_THREADS=str(threads), **variables)


def generate_in_a_process(project: Path, output: str, threads: int = 1, **variables: str) -> dict[str, bytes]:
    """Run the stage; the bytes of each file it wrote."""
    done = run_stage(project, output, threads, **variables)
    assert done.returncode == 0, done.stderr
    return bytes_of(project / output)


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


def test_order_and_number_of_prompts_do_not_change_an_image(project: Path, usual_torch) -> None:
    """Protects pairing: an image depends on its own prompt and noise alone. Of processes: test_floor.py."""
    from stages.lib.project.params import load_params
    from stages.lib.project.prompts import load_prompts

    params = load_params(project / "params.yaml")
    noise = project / "data/runs/tiny/noise.safetensors"
    model = project / "data/runs/tiny/models/fp32"
    recipe = Recipe(model, params.variant("fp32"), "cpu", noise, params.general_arguments)
    orders = [Order(prompt) for prompt in load_prompts(project / "data/prompts.csv", None)]
    generated = {}
    for name, chosen in {"all": orders, "reversed": orders[::-1], "one": orders[1:2]}.items():
        images = list(recipe.generate_all(chosen, WorkerPool(1, 1)))
        assert [image.id for image in images] == [order.prompt.id for order in chosen]
        generated[name] = {image.id: rgb_sha256(image.rgb) for image in images}
    assert generated["reversed"] == generated["all"]
    assert generated["one"]["animal"] == generated["all"]["animal"]
    assert len(set(generated["all"].values())) == 3


def test_two_hosts_give_the_bytes_of_one_process(project: Path, free_port: int) -> None:
    """Protects records and hashes from how many computed. Each finds the first one at another address."""
    alone = generate_in_a_process(project, "data/alone/fp32")
    with ThreadPoolExecutor() as hosts:
        launched = {"WORLD_SIZE": "2", "MASTER_PORT": str(free_port)}
        running = [
            hosts.submit(run_stage, project, "data/two/fp32", RANK=rank, MASTER_ADDR=address, **launched)
            for rank, address in (("0", "127.0.0.1"), ("1", "127.0.0.2"))
        ]
        first, second = (host.result() for host in running)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "3 images on cpu" in first.stdout and second.stdout == ""
    assert bytes_of(project / "data/two/fp32") == alone
    assert [path.name for path in (project / "data/two").iterdir()] == ["fp32"]


def test_processes_that_never_meet_share_the_work_and_the_last_one_joins(project: Path) -> None:
    """Protects a Slurm array, whose tasks run when there is room, and a run that goes on after a kill.

    A task that stops is the same as one that was killed: what is whole stays, what is not is generated anew.
    """
    alone = generate_in_a_process(project, "data/again/fp32")
    done = run_stage(project, "data/array/fp32", RANK="1", WORLD_SIZE="2")
    assert done.returncode == 0 and "share 1 of 2, 1 image," in done.stdout, done.stderr
    assert not (project / "data/array/fp32").exists()
    shutil.copytree(project / "data/array", project / "data/killed")
    assert generate_in_a_process(project, "data/array/fp32", RANK="0", WORLD_SIZE="2") == alone

    (parts,) = (project / "data/killed").iterdir()
    (parts / ".half.png.1.partial").write_bytes(b"half")
    done = run_stage(project, "data/killed/fp32")
    assert "1 of them were there" in done.stdout, done.stderr
    assert bytes_of(project / "data/killed/fp32") == alone
    assert [path.name for path in (project / "data/killed").iterdir()] == ["fp32"]


def test_parts_that_are_not_whole_or_of_another_model_are_not_taken(project: Path) -> None:
    """Protects images from what an earlier run left: half a file, or images of other weights."""
    alone = generate_in_a_process(project, "data/clean/fp32")
    run_stage(project, "data/stale/fp32", RANK="1", WORLD_SIZE="2")
    (parts,) = (project / "data/stale").iterdir()
    (parts / "animal.png").write_bytes(alone["animal.png"][:-99])
    done = run_stage(project, "data/stale/fp32")
    assert "were there" not in done.stdout and bytes_of(project / "data/stale/fp32") == alone
    run_stage(project, "data/stale/fp32", RANK="1", WORLD_SIZE="2")
    done = run_stage(project, "data/stale/fp32", threads=2)
    assert "were there" not in done.stdout
    assert [path.name for path in (project / "data/stale").iterdir()] == ["fp32"]


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
