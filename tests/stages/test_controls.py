"""Stage controls: a sound instrument catches all, and a blind, lenient or unsteady one fails the run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages import controls, generate
from stages.lib.project.errors import UserError
from stages.lib.quality import detection
from stages.lib.quality.comparison import Comparison
from stages.lib.quality.detection import CONTROLS
from tests.tiny_project import write_models, write_settings

OUTPUT = Path("reports/tiny/controls.json")
ARGUMENTS = [
    "--base",
    "data/runs/tiny/models/base",
    "--models",
    "data/runs/tiny/models",
    "--noise",
    "data/runs/tiny/noise.safetensors",
]


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a baseline that has generated its images."""
    import torch

    folder = tmp_path_factory.mktemp("controls") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32",))
    (folder / "data/runs/tiny/models/base").symlink_to(tiny_model)
    command = [
        "generate",
        "--variant",
        "fp32",
        "--model",
        "data/runs/tiny/models/fp32",
        "--noise",
        "data/runs/tiny/noise.safetensors",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [*command, "--output", "data/runs/tiny/images/fp32"])
        generate.main()
    torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch):
    """The stage as DVC runs it; afterwards the file it wrote is gone."""
    import torch

    def main() -> dict:
        monkeypatch.setattr(
            sys, "argv", ["controls", *ARGUMENTS, "--images", "data/runs/tiny/images", "--output", str(OUTPUT)]
        )
        controls.main()
        return written()

    monkeypatch.chdir(project)
    yield main
    OUTPUT.unlink(missing_ok=True)
    torch.use_deterministic_algorithms(False)


def written() -> dict:
    return json.loads(OUTPUT.read_text(encoding="utf-8"))


def test_a_sound_instrument_catches_every_control(run):
    """Protects the report's sentence that each was caught, with the figures behind it."""
    found = run()
    assert [item["name"] for item in found["controls"]] == list(CONTROLS)
    assert all(item["caught"] for item in found["controls"])
    rerun, seeds, prompts, int2, nan = found["controls"]
    assert (rerun["identical"], rerun["psnr_db"], rerun["ssim"]) == (2, None, 1)
    assert "different prompts or seeds" in seeds["refusal"] and "different prompts or seeds" in prompts["refusal"]
    assert seeds["psnr_db"] < int2["psnr_db"] < 30
    assert "NaN or infinity" in nan["message"]
    assert found["stored"]["identical"] == 2
    assert found["limits"]["posterize"]["weakest"] == 128


def test_a_blind_metric_fails_the_run(run, monkeypatch):
    """A comparison that finds everything identical misses what was generated wrongly, and the error names it."""
    monkeypatch.setattr(detection, "compare", lambda reference, image, rgb: Comparison(image.id, None, 1.0))
    with pytest.raises(UserError, match="failed its controls: 'seeds' must be different.*'prompts'.*'int2'") as error:
        run()
    assert "'rerun'" not in str(error.value) and "'nan'" not in str(error.value)
    assert [item["name"] for item in written()["controls"] if not item["caught"]] == ["seeds", "prompts", "int2"]


@pytest.mark.parametrize("same", ["prompt", "noise"])
def test_a_model_that_hardly_reads_its_prompt_accuses_nobody(run, monkeypatch, same):
    """Protects a run of such a model; that images are all equal whatever their noise is generation's fault."""
    generate, first = controls.generate_image, {}

    def constant(pipeline, name, prompt, noise, seed, arguments):
        if same == "prompt":
            return generate(pipeline, name, "a", noise, seed, arguments)
        return generate(pipeline, name, prompt, first.setdefault("noise", noise), 1, arguments)

    monkeypatch.setattr(controls, "generate_image", constant)
    if same == "noise":
        with pytest.raises(UserError, match="failed its controls: 'seeds' must be different and has no PSNR"):
            run()
    else:
        found = {item["name"]: item for item in run()["controls"]}
        assert found.pop("prompts")["reason"] == "prompt_hardly_read"
        assert all(item["caught"] for item in found.values())


def test_a_lenient_rating_fails_the_run(run, monkeypatch):
    monkeypatch.setattr(detection, "rate_psnr", lambda psnr_db: "excellent")
    with pytest.raises(UserError, match="'seeds' must be different and has PSNR .* rating excellent"):
        run()


def test_a_comparison_that_trusts_names_fails_the_run(run, monkeypatch):
    """Images of other seeds must be refused by their names as well."""
    monkeypatch.setattr(detection, "check_same_prompts", lambda folders, images: None)
    with pytest.raises(UserError, match="'seeds'.*its names not refused"):
        run()


def test_generating_that_does_not_repeat_itself_fails_the_run(run, monkeypatch):
    """One grey level in one pixel is enough."""
    generate, count = controls.generate_image, iter(range(100))

    def unsteady(*arguments):
        image = generate(*arguments)
        image.putpixel((0, 0), (next(count), 0, 0))
        return image

    monkeypatch.setattr(controls, "generate_image", unsteady)
    with pytest.raises(UserError, match="'rerun' must be identical and has PSNR"):
        run()


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_generating_that_lets_a_nan_pass_fails_the_run(run, monkeypatch):
    """Without the check for finite numbers a NaN becomes an image."""
    from stages.lib.generation import sampling

    monkeypatch.setattr(sampling, "_check_finite", lambda *arguments: None)
    with pytest.raises(UserError, match="'nan' must be stopped and drew an image"):
        run()


def test_prompts_of_one_seed_accuse_nobody(run, monkeypatch):
    """Protects a file of prompts that all begin with the same noise."""
    load = controls.load_prompts
    monkeypatch.setattr(controls, "load_prompts", lambda *args: [replace(item, seed=42) for item in load(*args)])
    found = {item["name"]: item for item in run()["controls"]}
    assert found.pop("seeds")["reason"] == "one_seed" and all(item["caught"] for item in found.values())


def test_with_one_prompt_there_is_nothing_to_swap(run, monkeypatch):
    """What was not tried says why, and fails nothing."""
    monkeypatch.setattr(controls, "IMAGES", 1)
    found = {item["name"]: item for item in run()["controls"]}
    assert {name for name, item in found.items() if item["caught"]} == {"rerun", "int2", "nan"}
    assert found["seeds"]["caught"] is None and found["prompts"]["reason"] == "one_prompt"
