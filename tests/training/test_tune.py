"""Tuning learns from prompts that are not evaluated, by the instrument's own rounding, and wins back what that took."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stages.lib.formats.shared.quantization import affine_parameters, dequantize, fake_quantize, quantize_weight
from stages.lib.formats.torch.activations import rounded_layers
from stages.lib.formats.torch.backend import round_weights
from stages.lib.models.components import load_component
from stages.lib.models.tuning import fuse_tuning, read_tuning
from stages.lib.project.files import sha256
from stages.lib.project.prompts import load_prompts, same_text
from stages.lib.project.variant import Tuning
from tests.training.tiny_training import run
from training import tune
from training.data import token_ids
from training.evaluate import load_pipeline, noise
from training.rounding import rounded_activation, rounded_weight
from training.settings import load_settings
from training.trajectories import teacher_of, trajectories
from training.tune import tuning_prompts

EVALUATED, CALIBRATION = Path("data/prompts.csv"), Path("data/calibration.csv")


def test_no_prompt_that_is_evaluated_is_learned_from() -> None:
    """Protects every figure about a tuned format: it is of prompts that the tuning did not see."""
    texts = tuning_prompts(load_settings(Path("training/params.yaml")), EVALUATED, CALIBRATION)
    evaluated = {same_text(prompt.prompt) for prompt in load_prompts(EVALUATED, None)}
    assert not evaluated & {same_text(text) for text in texts}
    assert len(texts) == len(set(texts)) > 1900
    assert {prompt.prompt for prompt in load_prompts(CALIBRATION, None)} <= set(texts)


@pytest.mark.parametrize("bits", [4, 8])
def test_it_rounds_as_the_instrument_does(bits: int) -> None:
    """Protects the student from learning for another rounding than the one that is measured."""
    generator = torch.Generator().manual_seed(bits)
    weight = torch.randn(6, 4, 3, 3, generator=generator)
    weight[2] = 0
    assert torch.equal(rounded_weight(weight, bits), dequantize(*quantize_weight(weight, bits)))
    for values in (torch.randn(50, generator=generator), torch.rand(50, generator=generator) + 1):
        scale = affine_parameters(values.min().item(), values.max().item(), bits)
        # The instrument computes a scale in FP64 first: its last bit may differ.
        torch.testing.assert_close(rounded_activation(values, bits), fake_quantize(values, *scale, bits))


def test_a_gradient_passes_rounding_and_reaches_what_stretches_the_scale() -> None:
    """Protects learning: rounding alone has no gradient, and an outlier would never shrink."""
    weight = torch.tensor([[7.0, 0.4, -2.3]], requires_grad=True)
    rounded_weight(weight, 4).sum().backward()
    # With the scale 1, which is a seventh of the first: its share is what the others' rounding is off by.
    torch.testing.assert_close(weight.grad, torch.tensor([[1 + (-0.4 + 0.3) / 7, 1.0, 1.0]]))


@pytest.mark.parametrize("name", ["int4", "w8a8"])
def test_tuning_brings_the_rounded_networks_nearer_to_their_teacher(trained: Path, tmp_path: Path, name: str) -> None:
    """Smoke test: sixty steps, and the file that they write makes what is measured better."""
    model, output, params = trained / "model", tmp_path / f"{name}.safetensors", trained / "params.yaml"
    run(tune, "--params", params, "--work", tmp_path / "work", "--format", name, "--model", model, "--device", "cpu",
        "--output", output)  # fmt: skip
    with safe_open(output, framework="pt") as file:
        assert file.metadata() | {"format": name, "steps": "60", "prompts": "16"} == file.metadata()
    fused = tmp_path / "fused"
    fused.mkdir()
    fuse_tuning(model, read_tuning(Tuning(path=str(output), sha256=sha256(output)), "key"), fused)

    settings, pipeline = load_settings(params), load_pipeline(model)
    values = getattr(settings.tune, name)
    ids = torch.stack([token_ids(pipeline.tokenizer, [text] * 4) for text in ("", "a red robot on Mars")])
    networks = teacher_of(pipeline)  # those that the pipeline has when they are called
    met = trajectories(networks, pipeline, ids, noise(pipeline, [1, 2, 3, 4]), settings)

    @torch.no_grad()
    def error(folder: Path) -> float:
        for component in values.components:
            network = load_component(folder, component, "float32")
            round_weights(network, values.weight_bits, "channel")
            for layer in rounded_layers(network).values() if values.activation_bits else ():
                layer.register_forward_pre_hook(
                    lambda _, args: (rounded_activation(args[0], values.activation_bits), *args[1:])
                )
            setattr(pipeline, component, network)
        answers = [
            networks.guided(noisy, time.expand(4), ids.flatten(0, 1), settings.evaluate.guidance_scale)
            for noisy, time in zip(met.noisy, met.times, strict=True)
        ]
        return (torch.stack(answers) - met.guided).square().mean().item()

    assert error(fused) < error(model)
