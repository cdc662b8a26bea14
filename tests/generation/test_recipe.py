"""One image of a variant, as the stages ask for it."""

import pytest
import torch
from safetensors.torch import save_file

from stages.lib.generation.recipe import Order, Recipe
from stages.lib.models.assembly import load_pipeline
from stages.lib.project.errors import UserError
from stages.lib.project.params import variant_of
from stages.lib.project.prompts import Prompt


def test_what_a_pipeline_fails_with_is_one_message(tiny_kind, tmp_path):
    """Protects from a traceback where only a prompt that is evaluated is one that a pipeline refuses, as too long."""
    folder, noise = tiny_kind("sd15-unchecked"), tmp_path / "noise.safetensors"
    save_file({"a": torch.zeros(4, 16, 16)}, noise)
    fp32 = variant_of(name="fp32", label="FP32", backend="torch", weights="float32")
    recipe = Recipe(folder, fp32, "cpu", noise, {"num_inference_steps": 0})
    with pytest.raises(UserError, match="does not generate from a prompt and num_inference_steps=0: it fails"):
        recipe.generate(load_pipeline(folder), Order(Prompt("a", "a cat", "x", "low", 1, "s")))
