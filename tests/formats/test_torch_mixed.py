"""Mixed precision: real noise of single layers, and a choice that keeps its budget."""

import json
from pathlib import Path

import pytest
import torch

from stages.lib.formats.torch.backend import load, quantize
from stages.lib.formats.torch.examples import examples, output_noise, outputs_of_parts, parts, predict, resumed
from stages.lib.formats.torch.layers import (
    block_of,
    grouped,
    kind_of,
    rounded_inputs,
    rounded_weights,
    twin,
    weight_layers,
)
from stages.lib.formats.torch.mixed import PLAN_FILE, LayerNoise, choose_bits, expected_noise, measure_layers
from stages.lib.models.calls import NetworkCall
from stages.lib.models.components import load_component
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant, variant_of

MIXED = {"label": "Mixed", "backend": "torch", "weights": "int4", "components": ["denoiser"], "simulated": True}
INVENTED = {
    "a": LayerNoise(100, 0.04, 0.0004),
    "b": LayerNoise(1000, 0.02, 0.0001),
    "c": LayerNoise(5000, 0.001, 0.00001),
    "d": LayerNoise(900, 0.0, 0.0),
}


@pytest.fixture(scope="module")
def inputs() -> list[NetworkCall]:
    generator = torch.Generator().manual_seed(0)
    return [
        NetworkCall(
            "forward",
            {
                "sample": torch.randn(2, 4, 16, 16, generator=generator),
                "timestep": torch.tensor(900 - 100 * number),
                "encoder_hidden_states": torch.randn(2, 16, 32, generator=generator),
                "return_dict": False,
            },
        )
        for number in range(5)
    ]


@pytest.fixture(scope="module")
def unet(tiny_model):
    return load_component(tiny_model, "unet", "float32")


@pytest.fixture(scope="module")
def noise(unet, inputs) -> dict[str, LayerNoise]:
    return measure_layers(unet, examples(inputs), "channel")


def test_rounding_a_twin_leaves_the_network_alone_and_takes_no_memory_for_its_weights(unet):
    layers, other = weight_layers(unet), weight_layers(twin(unet))
    before = layers["conv_in"].weight.clone()
    assert all(other[name].weight is layer.weight for name, layer in layers.items())
    with rounded_weights(other, {"conv_in": 4}, "channel"):
        assert not torch.equal(other["conv_in"].weight, before)
        assert torch.equal(layers["conv_in"].weight, before)
    assert other["conv_in"].weight is layers["conv_in"].weight


def test_many_threads_measure_what_one_measures(unet, inputs, noise):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 2)
    try:
        again = measure_layers(unet, examples(inputs), "channel")
    finally:
        torch.set_num_threads(threads)
    assert list(again) == list(noise)
    for name, layer in noise.items():
        assert again[name].low == pytest.approx(layer.low, rel=1e-3, abs=1e-12)


def test_a_network_resumed_at_a_layer_predicts_the_same_bits(unet, inputs):
    """Protects the noise of every layer, measured without what comes before it; a part is what contains the layer."""
    batch = examples(inputs)
    reference, outputs = outputs_of_parts(unet, batch)
    assert torch.equal(reference, predict(unet, batch))
    layers = weight_layers(unet)
    for name in layers:
        with rounded_weights(layers, {name: 4}, "channel"):
            whole = predict(unet, batch)
            with resumed(unet, outputs, name):
                assert torch.equal(predict(unet, batch), whole), name
    with resumed(unet, outputs, "conv_out"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(unet.mid_block.resnets[0]), "forward", None)  # would fail if it were called
        assert torch.equal(predict(unet, batch), reference)
    assert not any("forward" in vars(part) for part in parts(unet).values())
    with resumed(unet, outputs, "no_such_layer"):  # nothing is taken from before
        assert torch.equal(predict(unet, batch), reference)


def variant(mean_bits: float | None) -> Variant:
    return variant_of(name="mixed", **MIXED, mean_bits=mean_bits)


def test_examples_are_spread_over_the_inputs_and_predicted_with_guidance(unet, inputs):
    batch = examples(inputs, 2)
    times = [inputs[number].arguments["timestep"] for number in (1, 3)]
    assert batch.calls[0].arguments["timestep"].tolist() == [times[0], times[0], times[1], times[1]]
    assert (len(batch.calls), batch.count, batch.rows) == (1, 2, 2)
    empty, prompt = unet(**inputs[1].arguments)[0]
    assert torch.allclose(predict(unet, batch)[0], empty + 7.5 * (prompt - empty), atol=1e-5)
    alone = [NetworkCall("forward", {name: halved(value) for name, value in call.arguments.items()}) for call in inputs]
    assert torch.allclose(predict(unet, examples(alone, 2))[0], prompt, atol=1e-5)
    assert examples(inputs, 99).count == 5
    with pytest.raises(UserError, match="no calibration calls of the denoiser"):
        examples([])


def halved(value: object) -> object:
    """The second row of a tensor."""
    return value[1:] if isinstance(value, torch.Tensor) and value.ndim else value


def test_calls_that_cannot_be_put_together_are_judged_one_by_one(tiny_kind):
    """Protects denoisers whose inputs have no common first dimension, such as FLUX's."""
    folder = tiny_kind("flux")
    calls = flux_calls(folder)
    denoiser = load_component(folder, "transformer", "float32")
    batch = examples(calls, 2)
    assert (len(batch.calls), batch.count) == (2, 2)
    noise = measure_layers(denoiser, batch, "channel")
    assert noise.keys() == weight_layers(denoiser).keys() and all(layer.low > 0 for layer in noise.values())


def flux_calls(folder: Path) -> list[NetworkCall]:
    from stages.calibrate import collect
    from stages.lib.models.assembly import load_pipeline
    from stages.lib.project.prompts import Prompt
    from tests.tiny_models import ARGUMENTS

    prompt = Prompt("dog", "a dog", "animal", "low", 7, "calibration")
    arguments = ARGUMENTS["flux"] | {"num_inference_steps": 3}
    return collect(load_pipeline(folder), [prompt], arguments, 3, 0)["transformer"]


def test_more_bits_are_less_noise_and_rounding_ends_with_the_block(unet, inputs, noise):
    layers, batch = weight_layers(unet), examples(inputs)
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    reference = predict(unet, batch)
    found = []
    for bits in (3, 4, 6, 8, 16):
        with rounded_weights(layers, dict.fromkeys(layers, bits), "channel"):
            found.append(output_noise(reference, predict(unet, batch)))
    assert found == sorted(found, reverse=True) and found[-1] == 0 < found[-2]
    with rounded_inputs(layers, ["conv_in"], {"conv_in": (-4.0, 4.0)}, 4):
        assert output_noise(reference, predict(unet, batch)) > 0
    assert all(torch.equal(layer.weight, before[name]) for name, layer in layers.items())
    assert torch.equal(predict(unet, batch), reference)
    assert all(layer.low > layer.high > 0 for layer in noise.values())


def test_every_layer_belongs_to_one_block_and_has_a_known_kind(unet):
    layers = weight_layers(unet)
    blocks = grouped(layers, block_of)
    assert sum(map(len, blocks.values())) == len(layers)
    assert {"conv_in", "mid_block", "down_blocks.0", "up_blocks.1"} <= blocks.keys()
    assert "other" not in grouped(layers, kind_of)
    assert kind_of("mid_block.attentions.0.transformer_blocks.0.attn2.to_k") == "cross-attention"
    assert kind_of("up_blocks.0.resnets.0.time_emb_proj") == "time"


@pytest.mark.parametrize("mean_bits", [4.0, 4.2, 5.0, 6.0, 7.9])
def test_the_budget_is_kept(noise, mean_bits):
    plan = choose_bits(noise, mean_bits)
    weights = sum(layer.weights for layer in noise.values())
    used = sum(plan.bits[name] * layer.weights for name, layer in noise.items())
    assert used / weights == pytest.approx(plan.mean_bits) and plan.mean_bits <= mean_bits + 1e-9
    assert set(plan.bits) == set(noise) and set(plan.bits.values()) <= {4, 8, 16}


def test_a_larger_budget_is_never_worse_and_the_best_of_two_ends(noise):
    """4 bits throughout is the start; with all the bits that 8 throughout takes, a mixture is at least as good."""
    expected = [expected_noise(noise, choose_bits(noise, bits).bits) for bits in (4.0, 4.5, 5.0, 6.0, 7.0, 8.0)]
    assert expected == sorted(expected, reverse=True)
    assert expected[0] == pytest.approx(sum(layer.low for layer in noise.values()))
    assert expected[-1] <= sum(layer.high for layer in noise.values())


def test_the_layer_that_saves_most_for_its_bits_comes_first():
    assert choose_bits(INVENTED, 4.1).bits == {"a": 8, "b": 4, "c": 4, "d": 4}
    assert choose_bits(INVENTED, 5.0).bits == {"a": 16, "b": 8, "c": 4, "d": 4}
    assert choose_bits(INVENTED, 16.0).bits == {"a": 16, "b": 16, "c": 16, "d": 4}


def test_the_scales_of_groups_are_paid_from_the_budget():
    assert choose_bits(INVENTED, 4.25, group_size=64).mean_bits == 4.25
    with pytest.raises(UserError, match="`mean_bits` has the value 4.1, but 4 bits and the scales .* take 4.25"):
        choose_bits(INVENTED, 4.1, group_size=64)


def test_the_variant_has_the_layers_of_its_plan(tiny_model, inputs, unet, noise, tmp_path):
    """Kept layers are FP16's, the others have at most 2^bits values a channel; the plan is that of the measurement."""
    quantize(tiny_model, variant(5.0), tmp_path, {"unet": inputs})
    plan = json.loads((tmp_path / "unet" / PLAN_FILE).read_text(encoding="utf-8"))
    assert plan["bits"] == choose_bits(noise, 5.0).bits and plan["mean_bits"] <= 5.0
    stored = weight_layers(load_component(tmp_path, "unet", "float32"))
    original = weight_layers(unet)
    for name, bits in plan["bits"].items():
        weight = stored[name].weight
        if bits == 16:
            assert torch.equal(weight, original[name].weight.half().float())
        else:
            assert max(len(channel.unique()) for channel in weight.flatten(1)) <= 2**bits
    assert len(set(plan["bits"].values())) > 1
    assert load(tmp_path, variant(5.0), "cpu").unet is not None


def test_without_inputs_there_is_no_plan(tiny_model, tmp_path):
    with pytest.raises(UserError, match="no calibration calls of the denoiser"):
        quantize(tiny_model, variant(5.0), tmp_path)


@pytest.mark.parametrize("changes", [{"weights": "int8"}, {"components": ["unet", "vae"]}, {"mean_bits": 9.0}])
def test_a_variant_that_cannot_be_mixed_is_refused(changes):
    with pytest.raises(ValueError, match="mean_bits"):
        variant_of(**{"name": "mixed", **MIXED, "mean_bits": 5.0, **changes})
