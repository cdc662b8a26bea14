"""Stage floor: the baseline against itself is identical, other seeds are not, and nothing depends on who generates."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import floor, generate
from stages.lib.generation.recipe import OTHER_SEED, Order, Recipe
from stages.lib.project.params import load_params
from stages.lib.project.prompts import load_prompts, sample_of
from stages.lib.project.worker_pool import WorkerPool
from tests.tiny_project import write_models, write_settings

RUN = "data/runs/tiny"


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A project whose baseline was generated, and the working folder."""
    import torch

    folder = tmp_path_factory.mktemp("floor") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32",))
    (folder / "data/runs/tiny/models/base").mkdir(parents=True)
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = (
            f"--variant fp32 --model {RUN}/models/fp32 --noise {RUN}/noise.safetensors --output {RUN}/images/fp32"
        )
        patch.setattr(sys, "argv", ["generate", *arguments.split()])
        generate.main()
        yield folder
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def measured(project: Path) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        arguments = (
            f"--base {RUN}/models/base --models {RUN}/models --images {RUN}/images --noise {RUN}/noise.safetensors"
        )
        patch.setattr(sys, "argv", ["floor", *arguments.split(), "--output", "reports/tiny/floor.json"])
        floor.main()
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
    for run in (*measured["runs"].values(), measured["seeds"]):
        assert run["attributes"] is None and run["distribution"] is None
        assert run["not_measured"]["clip_score"] == "no_clip"


def test_the_order_does_not_change_a_image(project: Path):
    """Protects pairing: in another order, and by two processes, the bytes are the same."""
    params = load_params()
    model, noise = Path(RUN, "models/fp32"), Path(RUN, "noise.safetensors")
    recipe = Recipe(model, params.variant("fp32"), "cpu", noise, params.general_arguments)
    prompts = load_prompts(Path("data/prompts.csv"), None)
    orders = [Order(prompt) for prompt in prompts]
    here = list(recipe.generate_all(orders, WorkerPool(1, 1)))
    there = list(recipe.generate_all(orders[::-1], WorkerPool(2, 1)))
    assert [item.id for item in there] == [prompt.id for prompt in prompts[::-1]]
    for one, other in zip(here, there[::-1], strict=True):
        assert one.id == other.id and np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.latents, other.latents)


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
