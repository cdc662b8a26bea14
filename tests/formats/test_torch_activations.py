"""Back end `torch`: simulated integer activations, from calibration inputs to the image."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.formats.shared.quantization import affine_parameters
from stages.lib.formats.torch.activations import measure_ranges, rounded_layers
from stages.lib.formats.torch.backend import inventory, load, quantize
from stages.lib.models.calls import NetworkCall
from stages.lib.models.components import ACTIVATIONS_FILE
from stages.lib.models.inventory import disk_bytes
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of
from tests.reference import COMPONENTS, calibration_of, generated, reference_pipeline


def _variant(**keys) -> Variant:
    keys = {"weights": "int8", "activations": "int8", **keys}
    return variant_of(name="v", label="V", backend="torch", simulated=True, **keys)


@pytest.fixture(scope="module")
def calibration(tiny_model) -> dict:
    """What the networks see while the FP32 pipeline generates one image."""
    return calibration_of(tiny_model)


@pytest.fixture(scope="module")
def made(tiny_model, calibration, tmp_path_factory) -> Path:
    """The folder of INT8 weights and activations, made once."""
    folder = tmp_path_factory.mktemp("w8a8")
    quantize(tiny_model, _variant(), folder, calibration)
    return folder


@pytest.fixture(scope="module")
def base_image(tiny_model) -> torch.Tensor:
    """What the base model generates in FP32."""
    return generated(reference_pipeline(tiny_model))


def test_ranges_are_those_of_the_data(tiny_model, calibration):
    """A layer that the input enters untouched has the extremes of the input; every layer that is called has a range."""
    pipeline = reference_pipeline(tiny_model)
    ranges = {name: measure_ranges(getattr(pipeline, name), name, calibration[name]) for name in COMPONENTS}
    for component, layer, key in (
        ("unet", "conv_in", "sample"),
        ("vae", "post_quant_conv", "z"),
        ("safety_checker", "vision_model.embeddings.patch_embedding", "clip_input"),
    ):
        values = torch.stack([call.arguments[key] for call in calibration[component]])
        assert ranges[component][layer] == (values.min().item(), values.max().item())
    text = torch.stack([call.arguments["encoder_hidden_states"] for call in calibration["unet"]])
    attention = next(name for name in ranges["unet"] if name.endswith("attn2.to_k"))
    assert ranges["unet"][attention] == (text.min().item(), text.max().item())
    for component in COMPONENTS:
        layers = {name for name, part in getattr(pipeline, component).named_modules()
                  if isinstance(part, nn.Conv2d | nn.Linear)}  # fmt: skip
        idle = {name for name in layers if component == "vae" and name.startswith(("encoder.", "quant_conv"))}
        assert ranges[component].keys() == layers - idle and (component != "vae" or idle)


def test_scales_are_stored_beside_the_weights_and_counted(tiny_model, calibration, made):
    """The folder holds what `load` needs, as the ranges say, and the stock-taking misses no byte and no parameter."""
    ranges = measure_ranges(reference_pipeline(tiny_model).unet, "unet", calibration["unet"])
    stored = load_file(made / "unet" / ACTIVATIONS_FILE)
    assert len(stored) == 2 * len(ranges)
    for name, ends in ranges.items():
        scale, zero_point = affine_parameters(*ends, 8)
        assert stored[f"{name}.input_scale"] == scale and stored[f"{name}.input_zero_point"] == zero_point
    tensors = inventory(made, _variant())
    scales = [tensor for tensor in tensors if ".input_" in tensor.name]
    assert {tensor.operator for tensor in scales} == {"Conv2d", "Linear"}
    assert {tensor.component for tensor in scales} == set(COMPONENTS)
    assert sum(tensor.parameters for tensor in tensors) == 471871 and not any(tensor.parameters for tensor in scales)
    for component in COMPONENTS:
        files = sum(path.stat().st_size for path in (made / component).glob("*.safetensors"))
        assert disk_bytes(made)[component] == files


def test_the_image_is_close_to_fp32_and_not_it(tiny_model, calibration, made, base_image, tmp_path):
    """Activations are really rounded: further off than with INT8 weights alone, nearer than with four bits."""
    folders = {"w8a8": made}
    for name, keys in {"w8": {"activations": "none"}, "w8a4": {"activations": "int4"}}.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        quantize(tiny_model, _variant(**keys), folders[name], calibration)
    variants = {"w8a8": _variant(), "w8": _variant(activations="none"), "w8a4": _variant(activations="int4")}
    errors = {
        name: (generated(load(folder, variants[name], "cpu")) - base_image).square().mean().sqrt().item()
        for name, folder in folders.items()
    }
    assert 0 < errors["w8"] < errors["w8a8"] < errors["w8a4"]
    assert errors["w8a8"] < 0.1 * base_image.std()


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_every_layer_is_given_rounded_inputs_in_the_compute_dtype(made, compute):
    """What enters each layer while generation and checking lies on at most 256 steps of the stored scale."""
    variant = _variant(compute=compute)
    pipeline = load(made, variant, "cpu")
    seen: dict[str, set] = {component: set() for component in COMPONENTS}

    def given(component: str) -> dict[str, nn.Module]:
        layers = rounded_layers(getattr(pipeline, component))
        return {name: layer for name, layer in layers.items() if hasattr(layer, "input_rounding")}

    def look(component: str, name: str, layer: nn.Module, values: torch.Tensor) -> None:
        assert values.dtype == getattr(torch, compute), f"{component}.{name}"
        exact = layer.input_rounding(values.float())
        assert torch.equal(exact.to(values.dtype), values) and len(values.unique()) <= 256, f"{component}.{name}"
        seen[component].add(name)

    for component in COMPONENTS:
        for name, layer in given(component).items():
            layer.register_forward_pre_hook(
                lambda layer, args, component=component, name=name: look(component, name, layer, args[0])
            )
    generated(pipeline)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        pipeline.safety_checker(images=pixels, clip_input=pixels)
        pipeline.vae.encode(pixels)
    assert all(seen[name] == set(given(name)) for name in COMPONENTS)


def test_one_component_may_have_rounded_activations_alone(tiny_model, calibration, tmp_path):
    """The others keep their bytes and need neither inputs nor scales."""
    variant = _variant(components=["vae"])
    quantize(tiny_model, variant, tmp_path, {"vae": calibration["vae"]})
    assert [path.parent.name for path in tmp_path.rglob(ACTIVATIONS_FILE)] == ["vae"]
    assert generated(load(tmp_path, variant, "cpu")).isfinite().all()


def test_the_same_inputs_give_the_same_bytes(tiny_model, calibration, made, tmp_path):
    """A second run writes identical scales, so DVC sees no change."""
    quantize(tiny_model, _variant(), tmp_path, calibration)
    for component in COMPONENTS:
        assert sha256(tmp_path / component / ACTIVATIONS_FILE) == sha256(made / component / ACTIVATIONS_FILE)


def test_missing_calibration_inputs_are_one_message(tiny_model, calibration, tmp_path):
    """Protects against ranges that were never measured."""
    with pytest.raises(
        CannotMake, match="'v' is made from examples of calls, but there are no calibration calls of 'vae'"
    ) as told:
        quantize(tiny_model, _variant(activations="int4"), tmp_path, calibration | {"vae": []})
    assert told.value.obstacle == {"reason": "never_called", "network": "vae"}  # a row of the report, no end of a run


def test_a_layer_that_is_not_finite_is_refused_and_one_that_is_not_reached_left_alone(tiny_model, calibration):
    """Protects against a scale that is no number."""
    unet = reference_pipeline(tiny_model).unet
    unet.spare = nn.Linear(2, 2)
    assert "spare" not in measure_ranges(unet, "unet", calibration["unet"])
    call = calibration["unet"][0]
    infinite = torch.full_like(call.arguments["sample"], torch.inf)
    broken = [NetworkCall(call.entry, call.arguments | {"sample": infinite})]
    with pytest.raises(UserError, match="layer 'conv_in' of 'unet' is given numbers that are not finite"):
        measure_ranges(reference_pipeline(tiny_model).unet, "unet", broken)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "activations.safetensors is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "activations.safetensors is truncated or corrupt"),
        (
            lambda path: save_file(
                {name: t for name, t in load_file(path).items() if name != "conv_in.input_scale"}, path
            ),
            "tensor 'conv_in.input_scale' is missing or belongs to no layer",
        ),
    ],
)
def test_damaged_scales_are_one_message(made, tmp_path, damage, said):
    """Protects against a network that is quietly less quantized than its name says."""
    folder = shutil.copytree(made, tmp_path / "v")
    damage(folder / "unet" / ACTIVATIONS_FILE)
    with pytest.raises(UserError, match=said):
        load(folder, _variant(), "cpu")
