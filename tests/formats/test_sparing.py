"""Spared layers keep their weights, those alone; a format with them is nearer to FP32 and a little larger."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.lib.formats import BACKENDS
from stages.lib.formats.openvino.storage import read_graph
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.sparing import spared_layers
from stages.lib.models.components import load_component, weight_files
from stages.lib.models.inventory import disk_bytes
from stages.lib.models.reconciliation import CASTS
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant, variant_of
from stages.lib.project.variant import AUTO
from stages.quantize import explanations
from tests.reference import calibration_of, generated, reference_pipeline, skip_without_packages

FORMATS = {
    "int4": {"backend": "torch", "weights": "int4", "simulated": True},
    "w8a8": {"backend": "torch", "weights": "int8", "activations": "int8", "simulated": True},
    "openvino": {
        "backend": "openvino",
        "weights": "int8",
        "activations": "int8",
        "device": "cpu",
        "compute": "float32",
    },
    "torchao": {"backend": "torchao", "weights": "int8", "convolutions": "int8", "device": "cpu", "compute": "float32"},
    "nf4": {"backend": "bitsandbytes", "weights": "nf4"},
    "gguf": {"backend": "gguf", "weights": "q4_0"},
    "layerwise": {"backend": "layerwise", "weights": "float8"},
    "sdnq": {"backend": "sdnq", "least_weights": 0, "weights": "uint4"},
}
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
PATTERNS = ["unet.down_blocks", "up_*.*", "conv_in"]


def variant(name: str, **keys) -> Variant:
    return variant_of(**FORMATS[name], **{"name": "v", "label": "V", "components": ["denoiser"], **keys})


def made(base: Path, chosen: Variant, folder: Path) -> Path:
    folder.mkdir()
    inputs = {"calibration": calibration_of(base)} if chosen.needs_calls else {}
    BACKENDS[chosen.backend].load_module().quantize(base, chosen, folder, **inputs)
    return folder


def stored_weight(folder: Path, chosen: Variant, layer: str) -> torch.Tensor:
    """The weight of a layer of the denoiser as it is stored."""
    if chosen.backend != "openvino":
        return load_file(weight_files(folder, "unet")[0])[f"{layer}.weight"]
    import openvino

    graph = read_graph(openvino.Core(), folder, "unet")
    name = f"self.network.{layer}.weight"
    return torch.tensor(next(node.data for node in graph.get_ops() if node.get_friendly_name() == name))


def error(folder: Path, chosen: Variant, original: torch.Tensor) -> float:
    pipeline = BACKENDS[chosen.backend].load_module().load(folder, chosen, "cpu")
    return (generated(pipeline) - original).square().mean().item()


@pytest.mark.parametrize("name", FORMATS)
def test_spared_layers_keep_their_weights_and_the_image_is_nearer(tiny_model, tmp_path, name):
    """Protects from a pattern that does nothing, spares too much, or spares another network."""
    plain, sparing = variant(name), variant(name, spare=PATTERNS)
    skip_without_packages(plain)
    without, folder = made(tiny_model, plain, tmp_path / "plain"), made(tiny_model, sparing, tmp_path / "spared")
    exact = load_component(tiny_model, "unet", "float32").state_dict()
    for layer in (LAYER, "conv_in"):
        stored = stored_weight(folder, sparing, layer)
        assert stored.is_floating_point() and stored.element_size() >= 2
        assert torch.equal(stored, exact[f"{layer}.weight"].to(stored.dtype))
    rows = BACKENDS[sparing.backend].load_module().inventory(folder, sparing)
    before = BACKENDS[plain.backend].load_module().inventory(without, plain)
    spared = spared_layers(on_model(sparing, tiny_model), tiny_model)["unet"]
    assert 40 < len(spared) < 70 and {LAYER, "conv_in"} <= set(spared)
    dtypes = [{item.name: item.dtype for item in items if item.component == "unet"} for items in (before, rows)]
    rounded = [
        {key for key, dtype in each.items() if dtype not in CASTS and key.endswith(".weight")} for each in dtypes
    ]
    assert rounded[0] - rounded[1] <= {f"{layer}.weight" for layer in spared}
    assert sum(item.parameters for item in rows) == sum(item.parameters for item in before)
    operators = BACKENDS[sparing.backend].operators
    explanations(folder, on_model(sparing, folder), rows, operators, BACKENDS[sparing.backend].spares_ends)
    original = generated(reference_pipeline(tiny_model))
    assert 0 < error(folder, sparing, original) < error(without, plain, original)
    disk = [sum(disk_bytes(path).values()) for path in (folder, without, tiny_model)]
    assert disk[0] < disk[2] and (disk[1] < disk[0] or sparing.simulated)


def test_a_pattern_that_matches_nothing_is_refused(tiny_model, tmp_path):
    wrong = variant("int4", spare=["conv_in", "mid_block.attention"])
    with pytest.raises(UserError, match=r"'variants.v.spare' has 'mid_block.attention', .* such as 'unet.conv_in'"):
        made(tiny_model, wrong, tmp_path / "v")


def test_what_cannot_be_spared_is_refused():
    """In floating point all layers are spared; some back ends convert all or none; two keys may not choose."""
    with pytest.raises(ValueError, match="weights 'float16' are: remove it"):
        variant_of(name="v", label="V", backend="torch", weights="float16", spare=["conv_in"])
    with pytest.raises(ValueError, match="converts all layers or none"):
        variant_of(name="v", label="V", backend="torch_dynamic", weights="int8", spare=["conv_in"])
    with pytest.raises(ValueError, match="remove one of them"):
        variant("int4", mean_bits=5, spare=["conv_in"])
    assert variant("int4", spare="auto").spare == (AUTO,)
