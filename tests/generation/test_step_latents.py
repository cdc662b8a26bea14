"""Trajectories: what was recorded comes back, equal ones have no ratio, noise has the ratio that it should."""

import numpy as np
import pytest
import torch

from stages.lib.generation.step_latents import (
    Recorder,
    compare_trajectories,
    read_trajectories,
    snr_db,
    write_trajectories,
)
from stages.lib.project.errors import UserError


def test_recorded_latents_come_back_as_float32_copies(tmp_path):
    """Protects the record from being changed by later steps, which reuse memory, and from the compute dtype."""
    recorder, latents = Recorder(), torch.ones(1, 4, 2, 2, dtype=torch.bfloat16)
    recorder(latents)
    latents += 1
    recorder(latents)
    write_trajectories(tmp_path, {"cat": recorder.stacked()})
    found = read_trajectories(tmp_path)["cat"]
    assert found.dtype == np.float32 and found.shape == (2, 4, 2, 2)
    assert (found[0] == 1).all() and (found[1] == 2).all()


def test_the_ratio_has_its_closed_form():
    reference = np.ones((3, 4, 2, 2), np.float32)
    other = reference.copy()
    other[1] += 0.1
    other[2] -= 1
    assert snr_db(reference, other) == [None, pytest.approx(20, abs=1e-5), pytest.approx(0)]
    with pytest.raises(ValueError, match="zero"):
        snr_db(0 * reference, other)


def test_means_are_over_the_prompts_that_differ():
    reference = {"a": np.ones((2, 4), np.float32), "b": np.ones((2, 4), np.float32), "c": np.ones((2, 4), np.float32)}
    other = {"a": reference["a"].copy(), "b": reference["b"] + np.float32([[0], [0.1]]), "d": reference["c"]}
    found = compare_trajectories(reference, other)
    assert found["prompts"] == 2 and found["snr_db"]["a"] == [None, None]
    assert found["mean_snr_db"] == [None, pytest.approx(20, abs=1e-5)]
    with pytest.raises(UserError, match="'a' have the shapes"):
        compare_trajectories(reference, {"a": np.ones((3, 4), np.float32)})
    assert compare_trajectories({}, {})["mean_snr_db"] == []


def test_missing_and_broken_files_name_the_remedy(tmp_path):
    folder = tmp_path / "bf16"
    folder.mkdir()
    with pytest.raises(UserError, match=r"latents\.safetensors is missing: run `dvc repro -f generate@bf16`"):
        read_trajectories(folder)
    (folder / "latents.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="is broken"):
        read_trajectories(folder)
