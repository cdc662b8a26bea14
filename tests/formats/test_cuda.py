"""What only a GPU shows: every format that runs there makes, stores, loads and generates on it; skipped elsewhere."""

from pathlib import Path

import pytest
import torch
from torch import nn

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.compiling import compile_network
from stages.lib.models import components
from stages.lib.models.inventory import disk_bytes, memory_bytes
from stages.lib.project.params import Variant, variant_of
from tests.reference import COMPONENTS, calibration_of, generated, reference_pipeline, skip_without_packages

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
SDNQ = {"backend": "sdnq", "least_weights": 0}
# Each format's options, and how far its image may lie from FP32's.
FORMATS = {
    "fp16": ({"backend": "torch", "weights": "float16"}, 0.05),
    "bf16": ({"backend": "torch", "weights": "bfloat16"}, 0.2),
    "nf4": ({"backend": "bitsandbytes", "weights": "nf4"}, 0.6),
    "fp4": ({"backend": "bitsandbytes", "weights": "fp4", "compute": "float16"}, 0.6),
    "llm-int8": ({"backend": "bitsandbytes", "weights": "int8", "compute": "float16"}, 0.2),
    "q8": ({"backend": "gguf", "weights": "q8_0", "compute": "float16"}, 0.2),
    "q4k": ({"backend": "gguf", "weights": "q4_k"}, 0.6),
    "layerwise": ({"backend": "layerwise", "weights": "float8"}, 0.6),
    "sdnq-int8": (SDNQ | {"weights": "int8", "compute": "float16"}, 0.2),
    "sdnq-int8-dynamic": (SDNQ | {"weights": "int8", "activations": "int8", "compute": "float16"}, 0.3),
    "sdnq-uint4": (SDNQ | {"weights": "uint4"}, 0.6),
    "int8": ({"backend": "torchao", "weights": "int8", "compute": "float16"}, 0.2),
    "int8-dynamic": ({"backend": "torchao", "weights": "int8", "activations": "int8", "compute": "float16"}, 0.3),
    "int8-last": ({"backend": "torchao", "weights": "int8", "memory_format": "channels_last"}, 0.3),
    "fp8": ({"backend": "torchao", "weights": "float8"}, 0.6),
    "fp8-rows": ({"backend": "torchao", "weights": "float8", "activations": "float8"}, 0.6),
    "fp8-tensor": (
        {"backend": "torchao", "weights": "float8", "activations": "float8", "granularity": "tensor"}, 0.6,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=FORMATS)
def stored(request, tiny_model, tmp_path_factory) -> tuple[str, Variant, Path]:
    """The tiny model in one format: its name, its variant, its folder."""
    variant = variant_of(name="v", label="V", device="cuda", **FORMATS[request.param][0])
    skip_without_packages(variant)
    if variant.obstacle("cuda", {"gpu_compute_capability": float("{}.{}".format(*torch.cuda.get_device_capability()))}):
        pytest.skip("this GPU lacks it")
    folder = tmp_path_factory.mktemp(request.param)
    calls = (calibration_of(tiny_model),) if variant.needs_calls else ()
    BACKENDS[variant.backend].load_module().quantize(tiny_model, variant, folder, *calls)
    return request.param, variant, folder


def test_the_image_is_near_that_of_fp32_and_memory_is_what_is_stored(tiny_model, stored):
    """Protects from a format that fails, does nothing or ruins images on a GPU, or keeps a second copy there."""
    name, variant, folder = stored
    pipeline = BACKENDS[variant.backend].load_module().load(folder, variant, "cuda")
    networks = [getattr(pipeline, component) for component in COMPONENTS]
    assert {tensor.device.type for network in networks for tensor in network.parameters()} == {"cuda"}
    original = generated(reference_pipeline(tiny_model))
    difference = (generated(pipeline).cpu() - original).abs().max()
    assert 0 < difference < FORMATS[name][1]
    assert sum(memory_bytes(network) for network in networks) < 1.05 * sum(disk_bytes(folder).values())


def test_compiled_by_blocks_the_image_is_the_same(tiny_model, stored):
    """Protects `compile: blocks` on every format whose back end compiles."""
    name, variant, folder = stored
    if not hasattr(variant, "compile"):
        pytest.skip("its back end compiles nothing")
    load = BACKENDS[variant.backend].load_module().load
    images = [
        generated(load(folder, variant.model_copy(update={"compile": mode}), "cuda")) for mode in (False, "blocks")
    ]
    assert (images[0] - images[1]).abs().max() < 0.1


@pytest.mark.parametrize("width", [1024, 2432])
def test_int4_comes_back_from_its_file_bit_for_bit(tmp_path, width):
    """Tiles and scales survive storage, padded or not; what they multiply is near the layer's own answer."""
    from stages.lib.formats.torchao import storage

    variant = variant_of(name="v", label="V", backend="torchao", weights="int4", device="cuda")
    torch.manual_seed(0)
    layer = nn.Linear(width, 64, dtype=torch.bfloat16, device="cuda").requires_grad_(False)
    values = torch.randn(20, width, dtype=torch.bfloat16, device="cuda")
    exact = layer(values)
    assert storage.quantize_layers(layer, [""], variant, False) == [""]
    state = storage.plain_state(layer)
    again = nn.Linear(width, 64, dtype=torch.bfloat16, device="cuda")
    build, suffixes = storage._builder(variant, False)
    again.bias = layer.bias
    build(again, *(state[f"weight{suffix}"].cuda() for suffix in suffixes))
    assert torch.equal(again(values), layer(values))
    assert 0 < (layer(values) - exact).norm() / exact.norm() < 0.2
    assert state["weight"].nbytes < 0.65 * 64 * width


def test_int4_leaves_narrow_layers_alone(tiny_model, tmp_path):
    """No row of the tiny model is worth padding: it is BF16 throughout, and generates."""
    variant = variant_of(name="v", label="V", backend="torchao", weights="int4", device="cuda")
    back_end = BACKENDS["torchao"].load_module()
    back_end.quantize(tiny_model, variant, tmp_path)
    assert {row.dtype for row in back_end.inventory(tmp_path, on_model(variant, tiny_model))} == {"bfloat16"}
    assert generated(back_end.load(tmp_path, variant, "cuda")).isfinite().all()


def test_recording_a_network_changes_little(tiny_model):
    """The same call replayed from a recorded graph, twice, gives what the network gives."""
    network = components.load_component(tiny_model, "unet", "float16").cuda()
    arguments = {name: value.cuda() if isinstance(value, torch.Tensor) else value
                 for name, value in calibration_of(tiny_model)["unet"][0].arguments.items()}  # fmt: skip
    halves = {name: value.half() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
              for name, value in arguments.items()}  # fmt: skip
    with torch.no_grad():
        plain = network(**halves)[0]
        compile_network(network, "reduce-overhead")
        for _ in range(3):
            assert (network(**halves)[0] - plain).abs().max() < 0.02
