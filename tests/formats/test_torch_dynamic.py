"""Back end `torch_dynamic`: what is stored and packed again is what quantize_dynamic made."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.formats.torch_dynamic.backend import load, quantize, quantize_linears
from stages.lib.models import components
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of
from tests.reference import COMPONENTS, generated, reference_pipeline


def _variant(granularity: str = "tensor", **keys) -> Variant:
    return variant_of(
        name="v",
        label="V",
        backend="torch_dynamic",
        weights="int8",
        activations="int8",
        granularity=granularity,
        device="cpu",
        compute="float32",
        **keys,
    )


def _made(base: Path, variant: Variant, folder: Path) -> Path:
    folder.mkdir()
    quantize(base, variant, folder)
    return folder


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_storing_and_loading_changes_no_bit_of_a_image(tiny_model, tmp_path, granularity):
    """The stored form stands for quantize_dynamic's result exactly, in all four components."""
    variant = _variant(granularity)
    loaded = load(_made(tiny_model, variant, tmp_path / "v"), variant, "cpu")
    direct = reference_pipeline(tiny_model)
    original = generated(direct)
    for component in COMPONENTS:
        quantize_linears(getattr(direct, component), granularity)
    assert torch.equal(generated(loaded), generated(direct))
    assert not torch.equal(generated(loaded), original)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        features, expected = (
            part.safety_checker.visual_projection(part.safety_checker.vision_model(pixels)[1])
            for part in (loaded, direct)
        )
    assert torch.equal(features, expected)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_linear_layer_is_stored_as_integers(tiny_model, tmp_path, granularity):
    """Weights of Linear layers are INT8 with small scales; nothing is a pickle; everything else is as it was."""
    variant = _variant(granularity)
    folder = _made(tiny_model, variant, tmp_path / "v")
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}
    for component in COMPONENTS:
        base = load_file(components.weight_files(tiny_model, component)[0])
        made = load_file(components.weight_files(folder, component)[0])
        linears = {name for name, tensor in made.items() if tensor.dtype == torch.int8 and name.endswith(".weight")}
        assert linears
        for name, tensor in base.items():
            if name not in linears:
                assert torch.equal(made[name], tensor), name
                continue
            scale = made[f"{name}_scale"]
            assert scale.shape == (() if granularity == "tensor" else tensor.shape[:1])
            assert not made[f"{name}_zero_point"].any()
            step = scale if granularity == "tensor" else scale[:, None]
            # PyTorch maps the peak to 127.5: it meets the bound, but for FP32 rounding of 127.5 steps
            assert ((made[name] * step - tensor).abs() <= step / 2 * (1 + 1e-4)).all(), name


def test_an_unchosen_component_stays_as_it_is(tiny_model, tmp_path):
    """`components: [unet]` leaves the bytes of the others, and the mixture draws."""
    variant = _variant(components=["unet"])
    folder = _made(tiny_model, variant, tmp_path / "v")
    for component in ("vae", "text_encoder", "safety_checker"):
        (base,), (made,) = (components.weight_files(part, component) for part in (tiny_model, folder))
        assert all(torch.equal(load_file(made)[name], tensor) for name, tensor in load_file(base).items())
    assert generated(load(folder, variant, "cpu")).isfinite().all()


def test_two_runs_write_the_same_bytes_without_a_warning(tiny_model, tmp_path):
    """DVC sees no change, and the user sees no deprecation notice of PyTorch's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", DeprecationWarning)
        first, second = (_made(tiny_model, _variant("channel"), tmp_path / name) for name in ("a", "b"))
        load(first, _variant("channel"), "cpu")
    digests = [
        {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("lost", ["conv_in.bias", "time_embedding.linear_1.weight_scale"])
def test_a_stored_model_that_lacks_a_tensor_is_refused(tiny_model, tmp_path, lost):
    """Neither a float weight nor a scale may be missing without a word."""
    folder = _made(tiny_model, _variant(), tmp_path / "v")
    (path,) = components.weight_files(folder, "unet")
    state = load_file(path)
    del state[lost]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"unet: tensor '{lost}' is missing"):
        load(folder, _variant(), "cpu")
