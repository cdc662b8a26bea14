"""Back end `layerwise`: diffusers' layerwise casting, kept in files."""

import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from stages.lib.formats.layerwise.backend import load, quantize
from stages.lib.models.components import load_component, weight_files, write_component
from stages.lib.project.errors import UserError
from stages.lib.project.params import variant_of

CALL = {"sample": (2, 4, 16, 16), "encoder_hidden_states": (2, 16, 32)}


def variant(**keys):
    return variant_of(
        name="v", label="V", backend="layerwise", weights="float8", **{"components": ["denoiser"], **keys}
    )


def made(base, tmp_path, **keys):
    (tmp_path / "v").mkdir()
    quantize(base, variant(**keys), tmp_path / "v")
    return load(tmp_path / "v", variant(**keys), "cpu").unet


@torch.no_grad()
def test_a_network_answers_as_with_diffusers_own_casting(tiny_model, tmp_path):
    """Protects the name: the same weights in FP8, the same arithmetic, but for the door that keeps times exact."""
    own = UNet2DConditionModel.from_pretrained(tiny_model / "unet", torch_dtype=torch.float32)
    own.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    call = {name: torch.randn(shape, generator=generator) for name, shape in CALL.items()}
    ours = made(tiny_model, tmp_path, compute="float32")
    answers = [network(**call, timestep=torch.tensor(500)).sample for network in (ours, own)]
    assert torch.equal(*answers)
    exact = load_component(tiny_model, "unet", "float32")(**call, timestep=torch.tensor(500)).sample
    assert 1e-4 < (answers[0] - exact).norm() / exact.norm() < 0.1


def test_norms_stay_in_the_compute_dtype(tiny_model, tmp_path):
    made(tiny_model, tmp_path)
    (path,) = weight_files(tmp_path / "v", "unet")
    dtypes = {name: tensor.dtype for name, tensor in load_file(path).items()}
    assert set(dtypes.values()) == {torch.float8_e4m3fn, torch.bfloat16}
    assert {dtype for name, dtype in dtypes.items() if "norm" in name} == {torch.bfloat16}
    assert dtypes["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"] == torch.float8_e4m3fn


def test_a_weight_that_overflows_is_one_message(tiny_model, tmp_path):
    """Protects from weights cut off at 448 without a word, as PyTorch casts them."""
    base = shutil.copytree(tiny_model, tmp_path / "base")
    state = load_component(base, "unet", "float32").state_dict()
    state["conv_in.weight"] = torch.full_like(state["conv_in.weight"], 449.0)
    write_component(base, "unet", state)
    with pytest.raises(UserError, match=r"unet: tensor 'conv_in.weight' has the magnitude 449, too large for float8"):
        made(base, tmp_path)
