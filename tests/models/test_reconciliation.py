"""What is on disk is explained by the declared format, tensor by tensor."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.formats.torch.backend import quantize
from stages.lib.models import components
from stages.lib.models.inventory import StoredTensor, container_bytes, disk_bytes, stored_tensors
from stages.lib.models.reconciliation import check_complete, explain
from stages.lib.project.errors import UserError
from stages.lib.project.params import variant_of
from tests.reference import COMPONENTS

WEIGHT = StoredTensor("unet", "a.weight", "Linear", 1000, 1000, "int8", 1000)
SCALE = StoredTensor("unet", "a.weight_scale", "Linear", 10, 0, "float32", 40)
BIAS = StoredTensor("unet", "a.bias", "Linear", 10, 10, "float32", 40)
CONVOLUTION = StoredTensor("unet", "c.weight", "Conv2d", 1000, 1000, "float32", 4000)


def test_fp32_is_nothing_but_its_parameters_and_headers(tiny_model, tmp_path):
    """Identity: every byte of an unquantized model is a parameter in FP32 or a header."""
    quantize(tiny_model, variant_of(name="v", label="V", backend="torch", weights="float32"), tmp_path)
    tensors, disk, container = stored_tensors(tmp_path), disk_bytes(tmp_path), container_bytes(tmp_path)
    for component in COMPONENTS:
        own = [tensor for tensor in tensors if tensor.component == component]
        found = explain(component, own, "float32", (), disk[component], container[component])
        assert found.total == disk[component] and found.weights == 4 * sum(tensor.parameters for tensor in own)
        assert (found.scales, found.unquantized, found.shared_tensors) == (0, 0, 0)
        check_complete(component, tmp_path, component)


def test_weights_scales_and_the_rest_are_told_apart():
    """By hand: 1000 integers, ten scales, a bias and a convolution in FP32, a header of 100 bytes."""
    found = explain("unet", [WEIGHT, SCALE, BIAS, CONVOLUTION], "int8", ["Linear"], 5180, 100)
    assert (found.weights, found.scales, found.unquantized, found.container) == (1000, 40, 4040, 100)
    assert found.total == 5180


@pytest.mark.parametrize(
    ("tensors", "operators", "disk", "said"),
    [
        ([WEIGHT, CONVOLUTION], ("Linear", "Conv2d"), 5000, "'c.weight' (+3,000 bytes)"),
        ([WEIGHT, SCALE, BIAS], ("Linear",), 1200, "'bytes of no tensor' (+120 bytes)"),
        ([WEIGHT, SCALE, BIAS], ("Linear",), 1000, "'bytes of no tensor' (-80 bytes)"),
        ([BIAS, StoredTensor("unet", "a.bias_scale", "Linear", 9, 0, "float32", 36)], (), 76, "'a.bias_scale' (+36"),
    ],
    ids=["left in FP32", "too long", "too short", "nothing to scale"],
)
def test_a_difference_names_the_tensors_behind_it(tensors, operators, disk, said):
    """A weight that was silently left out, or bytes that nobody declared, are no footnote."""
    with pytest.raises(UserError) as error:
        explain("variant 'v', unet", tensors, "int8", operators, disk, 0)
    assert said in str(error.value) and str(error.value).startswith("variant 'v', unet: ")


def test_one_percent_is_borne():
    explain("unet", [WEIGHT], "int8", (), 1010, 0)
    with pytest.raises(UserError):
        explain("unet", [WEIGHT], "int8", (), 1011, 0)


def test_shared_bytes_are_counted_once_and_said(tiny_model, tmp_path):
    """A tensor that safetensors do not store again, because it is another one, is listed without bytes."""
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (path,) = components.weight_files(folder, "vae")
    state = load_file(path)
    kept, name = "encoder.conv_norm_out.weight", "encoder.conv_norm_out.bias"
    state[name] = state[kept]
    components.write_component(folder, "vae", state)
    tensors = [tensor for tensor in stored_tensors(folder) if tensor.component == "vae"]
    shared = [tensor for tensor in tensors if not tensor.stored_bytes]
    assert len(shared) == 1 and shared[0].name in (kept, name) and shared[0].elements == 32
    found = explain("vae", tensors, "float32", (), disk_bytes(folder)["vae"], container_bytes(folder)["vae"])
    assert found.shared_tensors == 1 and found.total == disk_bytes(folder)["vae"]
    check_complete("vae", folder, "vae")


def test_a_lost_parameter_is_named(tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (path,) = components.weight_files(folder, "unet")
    state = load_file(path)
    del state["conv_out.bias"]
    save_file({name: torch.clone(tensor) for name, tensor in state.items()}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="^here: tensor 'conv_out.bias' is missing from what was stored"):
        check_complete("here", folder, "unet")
