"""Stage floor: the baseline against itself is identical, other seeds are not, and nothing depends on who generates."""

import json
from pathlib import Path

import pytest

from stages import floor
from stages.lib.generation.recipe import OTHER_SEED
from stages.lib.project.prompts import load_prompts, sample_of
from stages.lib.project.worker_pool import WorkerPool
from tests.command import run
from tests.tiny_project import write_models, write_settings

RUN = "data/runs/tiny"


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose baseline was generated."""
    folder = tmp_path_factory.mktemp("floor") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32",))
    (folder / "data/runs/tiny/models/base").mkdir(parents=True)
    words = f"--variant fp32 --model {RUN}/models/fp32 --noise {RUN}/noise.safetensors --output {RUN}/images/fp32"
    done = run(folder, "stages.generate", *words.split())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def measured(project: Path) -> dict:
    words = f"--base {RUN}/models/base --models {RUN}/models --images {RUN}/images --noise {RUN}/noise.safetensors"
    done = run(project, "stages.floor", *words.split(), "--output", "reports/tiny/floor.json")
    assert done.returncode == 0, done.stderr
    return json.loads((project / "reports/tiny/floor.json").read_text(encoding="utf-8"))


def test_a_rerun_and_two_processes_give_the_same_bits_and_other_threads_nearly_the_same(measured):
    """Protects what the floor stands for: images and latents, the same machine, the same thread count."""
    assert list(measured["runs"]) == ["again", "processes", "threads"]
    for name in ("again", "processes"):
        run = measured["runs"][name]
        assert (run["images"], run["identical"], run["psnr_db"], run["averages"]["ssim"]["mean"]) == (2, 2, None, 1)
        assert run["trajectory"]["prompts"] == 1 and set(run["trajectory"]["mean_snr_db"]) == {None}
    assert measured["runs"]["processes"]["processes"] == 2
    threads = measured["runs"]["threads"]
    assert threads["threads"] != measured["runs"]["again"]["threads"]
    assert threads["psnr_db"] is None or threads["psnr_db"] >= 60


def test_other_seeds_are_other_images(measured):
    seeds = measured["seeds"]
    assert (seeds["images"], seeds["identical"]) == (3, 0)
    assert seeds["psnr_db"] < 40 and seeds["trajectory"]["mean_snr_db"][0] < 10


def test_without_a_clip_the_reason_stands_in_place_of_figures(measured):
    for made in (*measured["runs"].values(), measured["seeds"]):
        assert made["attributes"] is None and made["distribution"] is None
        assert made["not_measured"]["clip_score"] == "no_clip"


def test_samples_begin_with_the_first_and_spread_over_the_rest():
    assert sample_of(range(32), 8, 3) == [0, 1, 2, 5, 11, 17, 23, 29]
    assert sample_of(range(3), 8, 3) == [0, 1, 2]
    assert sample_of(range(10), 2, 3) == [0, 1]
    assert sample_of(range(4), 4) == [0, 1, 2, 3]


def test_the_floor_is_generated_with_other_threads_and_other_processes():
    pools = [
        floor.other_pools(pool) for pool in (WorkerPool(1, 1), WorkerPool(1, 2), WorkerPool(2, 1), WorkerPool(4, 8))
    ]
    assert [pool["threads"] for pool in pools] == [
        WorkerPool(1, 2),
        WorkerPool(1, 1),
        WorkerPool(1, 2),
        WorkerPool(1, 4),
    ]
    assert [pool["processes"] for pool in pools] == [
        WorkerPool(2, 1),
        WorkerPool(2, 2),
        WorkerPool(1, 1),
        WorkerPool(1, 8),
    ]


def test_no_other_seed_is_one_of_the_prompts():
    prompts = load_prompts(Path(__file__).parents[2] / "data/prompts.csv", None)
    seeds = {prompt.seed for prompt in prompts}
    assert not seeds & {seed + OTHER_SEED for seed in seeds}
