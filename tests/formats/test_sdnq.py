"""Back end `sdnq`: what SDNQ itself makes of a network, kept in files; it is optional, and never required."""

import re
import subprocess
import sys

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from stages.lib.formats.shared.availability import installed_version
from stages.lib.models.components import load_component, weight_files
from stages.lib.project.params import Variant, variant_of
from stages.lib.results.what_runs import OPTIONAL
from stages.lib.timing.work_counter import WorkCounter
from tests.conftest import PROJECT

needs_sdnq = pytest.mark.skipif(installed_version("sdnq") is None, reason="the package is optional: sdnq")
CALL = {"sample": (2, 4, 16, 16), "encoder_hidden_states": (2, 16, 32)}
KEYS = {
    "int8": {"weights": "int8"},
    "int8-dynamic": {"weights": "int8", "activations": "int8", "compute": "bfloat16"},
    "uint4": {"weights": "uint4"},
}


def variant(**keys) -> Variant:
    return variant_of(
        name="v", label="V", backend="sdnq", **{"components": ["denoiser"], "least_weights": 1024, **keys}
    )


def made(base, folder, **keys):
    """The pipeline of the variant with `keys`, loaded from `folder`."""
    from stages.lib.formats.sdnq.backend import load, quantize

    folder.mkdir()
    quantize(base, variant(**keys), folder)
    return load(folder, variant(**keys), "cpu")


@needs_sdnq
@pytest.mark.parametrize("name", KEYS)
@torch.no_grad()
def test_a_network_answers_as_after_sdnq_s_own_quantization(tiny_model, tmp_path, name):
    """Protects the name: SDNQ's weights and arithmetic in SDNQ's own choice of layers, and not the exact answer."""
    from stages.lib.formats.sdnq.layers import arguments_of, sdnq_post_load_quant
    from stages.lib.formats.shared.casting import compute_in
    from stages.lib.formats.shared.devices import compute_dtype

    ours, dtype = made(tiny_model, tmp_path / "v", **KEYS[name]).unet, compute_dtype(variant(**KEYS[name]), "cpu")
    own = load_component(tiny_model, "unet", "float32")
    sdnq_post_load_quant(own, **arguments_of(variant(**KEYS[name])), torch_dtype=getattr(torch, dtype))
    for module in own.modules():
        if hasattr(module, "sdnq_dequantizer"):  # keeps its scales FP32
            for part in ("scale", "zero_point"):
                if isinstance(tensor := getattr(module, part), torch.nn.Parameter):
                    delattr(module, part)
                    module.register_buffer(part, tensor.data)
    compute_in(own, dtype)
    generator = torch.Generator().manual_seed(0)
    call = {key: torch.randn(shape, generator=generator) for key, shape in CALL.items()}
    answers = [network(**call, timestep=torch.tensor(500)).sample for network in (ours, own)]
    assert (answers[0] - answers[1]).norm() / answers[1].norm() < (1e-6 if dtype == "float32" else 0.01)
    exact = load_component(tiny_model, "unet", "float32")(**call, timestep=torch.tensor(500)).sample
    assert 1e-4 < (answers[0] - exact).norm() / exact.norm() < 0.3


@needs_sdnq
def test_convolutions_and_linear_layers_are_stored_as_asked_and_delicate_ones_are_not(tiny_model, tmp_path):
    made(tiny_model, tmp_path / "v", weights="uint4")
    (path,) = weight_files(tmp_path / "v", "unet")
    state = load_file(path)
    block = "down_blocks.1.resnets.0.conv2"
    assert state[f"{block}.weight"].dtype == torch.uint8
    assert {state[f"{block}.weight{end}"].dtype for end in ("_scale", "_zero_point")} == {torch.float32}
    assert state["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"].dtype == torch.uint8
    shape = load_component(tiny_model, "unet", "float32").get_submodule(block).weight.shape
    bits = 8 * sum(state[f"{block}.weight{end}"].nbytes for end in ("", "_scale", "_zero_point")) / shape.numel()
    assert shape[1] != 64 or bits == variant(weights="uint4").bits_per_weight == 5
    assert bits == 4 + 64 / min(shape[1], 64)
    left = {"time_embedding.linear_1", "time_embedding.linear_2", "conv_in", "conv_out"}
    assert {state[f"{name}.weight"].dtype for name in left} == {torch.bfloat16}


@needs_sdnq
def test_integer_products_are_counted_as_what_they_are_products_of(tiny_model, tmp_path):
    """SDNQ makes a convolution a product of matrices: it is still a convolution, in INT8."""
    pipeline, counted = made(tiny_model, tmp_path / "v", **KEYS["int8-dynamic"]), []
    plain = made(tiny_model, tmp_path / "plain", weights="int8")
    for chosen in (pipeline, plain):
        counter = WorkCounter()
        with counter.watching(chosen), torch.no_grad():
            chosen.unet(**{key: torch.randn(shape) for key, shape in CALL.items()}, timestep=torch.tensor(500))
        counted.append(counter.rows())
    assert {(row.operator, row.dtype) for row in counted[0]} >= {("Conv2d", "int8"), ("Linear", "int8")}
    assert not any(row.dtype == "int8" for row in counted[1])
    sums = [
        {name: sum(row.multiply_accumulates for row in rows if row.operator == name) for name in ("Conv2d", "Linear")}
        for rows in counted
    ]
    assert sums[0] == sums[1]


@needs_sdnq
def test_a_layer_that_sdnq_does_not_multiply_as_integers_comes_back_as_it_was():
    """Protects layers that SDNQ names for some models: what it stores of those is not turned around."""
    from stages.lib.formats.sdnq.layers import arguments_of, built, sdnq_post_load_quant

    chosen, values = variant(**KEYS["int8-dynamic"]), torch.randn(40, 64)
    for named in ([], ["0.weight"]):
        network = torch.nn.Sequential(torch.nn.Linear(64, 64))
        options = {"modules_to_not_use_matmul": named, "torch_dtype": torch.float32}
        (layer,) = sdnq_post_load_quant(network, **arguments_of(chosen), **options)
        again = torch.nn.Linear(64, 64, device="meta")
        again.bias = layer.bias
        again = built(again, chosen, torch.float32, layer.weight.detach().contiguous(), layer.scale.detach())
        assert torch.equal(again(values), layer(values))


def test_nothing_of_this_project_imports_it_unasked_and_nothing_requires_it():
    """It is under GPL-3.0: a user's choice."""
    requirements = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    assert "sdnq" not in requirements.lower()
    told = "import sys, stages.quantize, diffusers; from stages.lib.project.params import load_params; load_params()"
    done = subprocess.run(
        [sys.executable, "-c", f"{told}; print('sdnq' in sys.modules)"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_the_lines_to_paste_are_legal_and_are_those_of_the_table_of_what_runs():
    """Protects who pastes them into params.yaml."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```yaml\n((?:(?!```)[\s\S])*?backend: sdnq[\s\S]*?)```", readme)
    pasted = YAML(typ="safe", pure=True).load(lines)
    assert {
        name: {key: value for key, value in keys.items() if key != "default"} for name, keys in pasted.items()
    } == OPTIONAL
    for name, keys in pasted.items():
        assert not variant_of(name=name, **keys).default
