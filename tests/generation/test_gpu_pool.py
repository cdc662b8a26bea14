"""How many processes share a GPU: one, but of a small model as many as keep it busy."""

from types import SimpleNamespace

import pytest

from stages.lib.generation import recipe
from stages.lib.project.params import variant_of

FP16 = variant_of(name="fp16", label="FP16", backend="torch", weights="float16")


@pytest.mark.parametrize(
    ("gib", "cores", "images", "processes"),
    [
        (0.1, 32, 1000, 16),  # eight for each of two GPUs
        (0.1, 4, 1000, 4),  # a core each
        (4.0, 32, 1000, 2),
        (0.1, 32, 8, 2),  # four images pay for a process
        (0.1, 32, 1, 1),
    ],
)
def test_a_small_model_has_several_processes_for_each_gpu(monkeypatch, tmp_path, gib, cores, images, processes):
    monkeypatch.setattr(recipe, "gpus_for_process", lambda: 2)
    monkeypatch.setattr(recipe, "threads_here", lambda: cores)
    monkeypatch.setattr(recipe, "loaded_bytes", lambda folder, variant: gib * 2**30)
    pool = recipe.generation_pool(tmp_path, FP16, "cuda", images)
    assert (pool.processes, pool.threads) == (processes, 1)


def test_models_that_a_process_has_side_by_side_all_count(monkeypatch):
    """Protects a GPU from eight processes with a large format beside a small baseline, and a CPU's memory."""
    monkeypatch.setattr(recipe, "gpus_for_process", lambda: 1)
    monkeypatch.setattr(recipe, "threads_here", lambda: 8)
    assert recipe.pool_of_models([2**28, 2**28, 2**28], "cuda", 100).processes == 8
    assert recipe.pool_of_models([2**28, 2**32], "cuda", 100).processes == 1
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=8 * 2**30))
    assert recipe.pool_of_models([2**30], "cpu", 100).processes == 4  # with a gibibyte for Python and the libraries
    assert recipe.pool_of_models([2**30, 2**30, 2**30], "cpu", 100).processes == 2
