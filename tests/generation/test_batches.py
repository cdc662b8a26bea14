"""A batch: every image as if it were alone, and a failure that says which format, and that one at a time may do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.lib.generation.noise import initial_latents
from stages.lib.generation.recipe import OTHER_SEED, other_seed
from stages.lib.generation.sampling import NotFinite, generate_batch, generate_image
from stages.lib.project.errors import UserError
from stages.lib.project.prompts import SEED_LIMIT, Prompt

CALL = {"num_inference_steps": 2, "guidance_scale": 7.5}
PROMPTS = [
    Prompt(f"p{seed}", text, "cat", "low", seed, "many") for seed, text in enumerate(("A cat", "A hill", "A bird"))
]


@pytest.fixture
def pipeline(tiny_model: Path):
    """The tiny pipeline on the CPU."""
    from diffusers import StableDiffusionPipeline

    found = StableDiffusionPipeline.from_pretrained(tiny_model)
    found.set_progress_bar_config(disable=True)
    return found


def batch(pipeline, prompts: list[Prompt], arguments: dict = CALL) -> np.ndarray:
    """Images, uint8 (n, H, W, 3), of prompts from the noise of their own seeds."""
    seeds = [prompt.seed for prompt in prompts]
    shape = (4, *[pipeline.unet.config.sample_size] * 2)
    return generate_batch(pipeline, "fp32", prompts, seeds, shape, arguments).numpy()


def test_images_of_a_batch_are_those_of_single_calls(pipeline):
    """Protects prompts, noise and rounding; a batch's sums may end in another last bit."""
    images = batch(pipeline, PROMPTS)
    for prompt, image in zip(PROMPTS, images, strict=True):
        noise = initial_latents((4, *[pipeline.unet.config.sample_size] * 2), prompt.seed)
        alone = np.asarray(generate_image(pipeline, "fp32", prompt.prompt, noise, prompt.seed, CALL))
        assert np.abs(image.astype(int) - alone).max() <= 1
        assert np.array_equal(batch(pipeline, [prompt])[0], alone)


def test_what_takes_no_batches_is_told_apart_from_what_never_runs(pipeline, monkeypatch):
    """Protects against a traceback, as from a graph that was exported for one image, and names the remedy."""
    decode = pipeline.vae.decode

    def decode_one(latents: torch.Tensor, **options: object) -> object:
        if len(latents) > 1:
            raise RuntimeError("a graph for one")
        return decode(latents, **options)

    monkeypatch.setattr(pipeline.vae, "decode", decode_one)
    assert len(batch(pipeline, PROMPTS[:1])) == 1
    with pytest.raises(
        UserError, match=r"variant 'fp32' does not generate n = 3 images in one call; one at a .*for one"
    ):
        batch(pipeline, PROMPTS)
    with pytest.raises(UserError, match="does not generate from a prompt and num_inference_steps='many'"):
        batch(pipeline, PROMPTS[:1], {"num_inference_steps": "many"})


def test_a_batch_without_numbers_names_its_first_prompt(pipeline):
    pipeline.unet.conv_out.bias.data[0] = float("nan")
    with pytest.raises(NotFinite, match="denoised latents of prompt 'A cat' or one of the n = 2 after it"):
        batch(pipeline, PROMPTS)


def test_the_seed_of_other_noise_is_a_seed():
    assert other_seed(1) == 1 + OTHER_SEED and other_seed(SEED_LIMIT - 1) == OTHER_SEED - 1
