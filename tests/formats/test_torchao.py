"""Back end `torchao`: what is stored and put back is what `quantize_` made, and integers are really multiplied."""

import functools
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stages.lib.formats.torchao import layers, storage
from stages.lib.formats.torchao.backend import inventory, load, quantize
from stages.lib.generation.safety import decide
from stages.lib.models import components
from stages.lib.models.calls import NetworkCall, run
from stages.lib.models.inventory import disk_bytes, memory_bytes
from stages.lib.models.watch import around_calls
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, sha256
from stages.lib.project.params import Variant, variant_of
from stages.lib.timing.work_counter import WorkCounter
from tests.conftest import PROJECT
from tests.reference import COMPONENTS, calibration_of, generated, reference_pipeline

pytest.importorskip("torchao")
FORMATS = {
    "weights": {},
    "dynamic": {"activations": "int8"},
    "convolutions": {"convolutions": "int8"},
    "dynamic-bf16": {"activations": "int8", "compute": "bfloat16"},
}


def _variant(**keys) -> Variant:
    return variant_of(**{"name": "v", "label": "V", "backend": "torchao", "weights": "int8", "device": "auto", **keys})


def _made(base: Path, variant: Variant, folder: Path) -> Path:
    folder.mkdir()
    quantize(base, variant, folder, calibration_of(base))
    return folder


@pytest.fixture(scope="module")
def made(tiny_model, tmp_path_factory) -> dict[str, Path]:
    """The tiny model in each of FORMATS."""
    folder = tmp_path_factory.mktemp("torchao")
    return {name: _made(tiny_model, _variant(**keys), folder / name) for name, keys in FORMATS.items()}


def _quantized_directly(base: Path, variant: Variant) -> dict[str, nn.Module]:
    """The networks as torchao itself leaves them, without a file between."""
    networks = {}
    for component in COMPONENTS:
        network = components.load_component(base, component, storage.float_dtype(variant))
        network32 = components.load_component(base, component, "float32")
        names = layers.chosen_layers(network32, variant, calibration_of(base)[component])
        storage.quantize_layers(network, names, variant, reduce_range=False)
        networks[component] = network
    return networks


@pytest.mark.parametrize("name", FORMATS)
def test_a_loaded_weight_is_the_one_that_torchao_made(tiny_model, made, name):
    """Integers, scales and every setting of torchao's tensor survive the file, and so does each layer's answer."""
    variant = _variant(**FORMATS[name])
    if layers.integer_sums_overflow():
        pytest.skip("this processor gets reduced ranges")
    pipeline = load(made[name], variant, "cpu")
    for component, direct in _quantized_directly(tiny_model, variant).items():
        loaded = getattr(pipeline, component)
        for path, module in direct.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            ours = loaded.get_submodule(path)
            assert type(ours.weight.detach()) is type(module.weight.detach())
            if storage.is_quantized(module.weight):
                names, settings = module.weight.__tensor_flatten__()
                assert ours.weight.__tensor_flatten__() == (names, settings)
                for inside in names:
                    assert torch.equal(getattr(ours.weight, inside), getattr(module.weight, inside)), f"{path}.{inside}"
            values = torch.randn(20, module.in_features, dtype=ours.weight.dtype)
            assert torch.equal(ours(values), module(values)), path


@pytest.mark.parametrize("name", ["weights", "dynamic"])
def test_storing_and_loading_changes_no_bit_of_a_image(tiny_model, made, name):
    """The loaded pipeline generates what the just quantized one generates: near the base model's image, but not it."""
    variant = _variant(**FORMATS[name])
    if layers.integer_sums_overflow():
        pytest.skip("this processor gets reduced ranges")
    direct = reference_pipeline(tiny_model)
    original = generated(direct)
    for component, network in _quantized_directly(tiny_model, variant).items():
        direct.register_modules(**{component: network})
    image = generated(load(made[name], variant, "cpu"))
    assert torch.equal(image, generated(direct))
    assert not torch.equal(image, original)
    assert (image - original).abs().max() < 0.1


def test_half_precision_arithmetic_generates_a_similar_image(tiny_model, made):
    """BF16 around INT8 layers: stored in BF16, images in FP32, near the base model's."""
    image = generated(load(made["dynamic-bf16"], _variant(**FORMATS["dynamic-bf16"]), "cpu"))
    assert (image - generated(reference_pipeline(tiny_model))).abs().max() < 0.2
    stored = load_file(components.weight_files(made["dynamic-bf16"], "unet")[0])
    assert {str(tensor.dtype) for tensor in stored.values()} == {
        "torch.bfloat16", "torch.int8", "torch.float32",
    }  # fmt: skip
    assert all(name.endswith("_scale") for name, tensor in stored.items() if tensor.dtype == torch.float32)


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_smaller_plain_and_fully_accounted_for(tiny_model, made, name):
    """No pickle; the inventory is every byte but the header; memory is what is stored, seen through the wrappers."""
    folder, variant = made[name], _variant(**FORMATS[name])
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}
    disk, pipeline, rows = disk_bytes(folder), load(folder, variant, "cpu"), inventory(folder, variant)
    assert sum(disk.values()) < sum(disk_bytes(tiny_model).values())
    for component in COMPONENTS:
        (path,) = components.weight_files(folder, component)
        stored = sum(row.stored_bytes for row in rows if row.component == component)
        assert stored + 8 + int.from_bytes(path.read_bytes()[:8], "little") == disk[component]
        network = getattr(pipeline, component)
        not_stored = sum(
            buffer.nbytes
            for name, buffer in network.named_buffers()
            if name not in load_file(path) and "parametrizations" not in name
        )
        assert memory_bytes(network) == stored + not_stored


def test_an_unchosen_component_stays_as_it_is(tiny_model, tmp_path):
    """`components: [unet]` leaves the bytes of the others, and the mixture draws."""
    variant = _variant(activations="int8", components=["unet"])
    folder = _made(tiny_model, variant, tmp_path / "v")
    for component in ("vae", "text_encoder", "safety_checker"):
        (base,), (made,) = (components.weight_files(part, component) for part in (tiny_model, folder))
        assert all(torch.equal(load_file(made)[name], tensor) for name, tensor in load_file(base).items())
    assert any(tensor.dtype == torch.int8 for tensor in load_file(components.weight_files(folder, "unet")[0]).values())
    assert generated(load(folder, variant, "cpu")).isfinite().all()


def test_integers_are_multiplied_only_where_activations_are_integers(made):
    """Proved by what is dispatched: every quantized layer of `dynamic` calls an integer product, none of `weights`."""
    for name, expected in {"weights": 0, "dynamic": 1}.items():
        counter = WorkCounter()
        with counter.watching(pipeline := load(made[name], _variant(**FORMATS[name], device="cpu"), "cpu")):
            decide(pipeline, pipeline("a cat", num_inference_steps=1).images[0])
        rows = counter.rows()
        assert {row.dtype for row in rows if row.operator == "Conv2d"} == {"float32"}
        for component in COMPONENTS:
            names = read_json(made[name] / component / storage.MANIFEST)["linear"]
            run = [layer for layer in names if not (component == "vae" and layer.startswith("encoder."))]
            found = [row.layers for row in rows if row.component == component and row.dtype == "int8"]
            assert sum(found) == expected * len(run)


def test_pytorchs_profiler_counts_the_same_integer_products(tiny_model, made):
    """A second witness: as many aten::_int_mm as layers that are said to multiply integers."""
    variant = _variant(**FORMATS["dynamic"])
    network = load(made["dynamic"], variant, "cpu").unet
    with (
        torch.no_grad(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
    ):
        run(network, calibration_of(tiny_model)["unet"][0])
    calls = Counter(event.name for event in profile.events())
    assert calls["aten::_int_mm"] == len(read_json(made["dynamic"] / "unet" / storage.MANIFEST)["linear"]) > 0


def test_layers_of_few_rows_are_left_in_floating_point(tiny_model, made):
    """CUDA's integer product refuses 16 rows or fewer: no layer that sees so few is in the manifest, all others are."""
    calls = calibration_of(tiny_model)
    for component in COMPONENTS:
        network = components.load_component(tiny_model, component, "float32")
        rows = layers.least_rows(network, calls[component])
        linears = {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}
        chosen = read_json(made["dynamic"] / component / storage.MANIFEST)["linear"]
        assert set(chosen) == {name for name in linears if rows.get(name, 17) > 16}
        everything = read_json(made["weights"] / component / storage.MANIFEST)["linear"]
        assert set(everything) == linears
    unet = read_json(made["dynamic"] / "unet" / storage.MANIFEST)["linear"]
    assert not any("time_emb" in name for name in unet)
    # text of 16 tokens without guidance is 16 rows; images of the lower level are 64
    assert not any(name.endswith("attn2.to_k") for name in unet)
    assert any(name.endswith("attn1.to_k") for name in unet)
    assert read_json(made["dynamic"] / "text_encoder" / storage.MANIFEST)["linear"] == []
    assert "visual_projection" not in read_json(made["dynamic"] / "safety_checker" / storage.MANIFEST)["linear"]


def test_rows_are_those_of_one_image_without_guidance(tiny_model):
    """A calibration call with guidance has two rows where a user without guidance gives one."""
    network = components.load_component(tiny_model, "unet", "float32")
    call = calibration_of(tiny_model)["unet"][0]
    alone = {
        key: value[1:] if torch.is_tensor(value) and value.ndim else value for key, value in call.arguments.items()
    }
    one = layers.least_rows(network, [NetworkCall("forward", alone)])
    assert layers.least_rows(network, [call]) == one and one["time_embedding.linear_1"] == 1


def test_fp8_on_a_cpu_is_one_clear_message(tiny_model, tmp_path, made, monkeypatch):
    """It says what FP8 needs, whether a model is made or loaded, and what an older GPU has."""
    variant = _variant(weights="float8")
    needs = r"variants\.v.*weights 'float8'.*CUDA device of compute capability 8\.9 or more"
    with pytest.raises(UserError, match=f"{needs}.*CPU"):
        load(made["weights"], variant, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"{needs}.*CPU"):
        _made(tiny_model, variant, tmp_path / "v")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    with pytest.raises(UserError, match=f"{needs}.*Old GPU has 8.6"):
        layers.require_gpu(variant, "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    layers.require_gpu(variant, "cuda")


@pytest.mark.parametrize("activations", ["none", "float8"])
def test_fp8_is_stored_and_put_back_as_it_is(tiny_model, tmp_path, monkeypatch, activations):
    """The files and tensors of FP8, made on the CPU, whose slow products stand for those of a GPU here."""
    for name in ("require_gpu", "quantizing_device"):
        monkeypatch.setattr(storage, name, lambda *_: "cpu")
    monkeypatch.setattr("torchao.quantization.quant_api._check_hardware_support", lambda granularity: None)
    variant = _variant(weights="float8", activations=activations, components=["unet"])
    folder = _made(tiny_model, variant, tmp_path / "v")
    loaded = load(folder, variant, "cpu").unet
    stored = [row for row in inventory(folder, variant) if row.dtype == "float8"]
    assert {row.operator for row in stored} == {"Linear"} and all(row.stored_bytes == row.elements for row in stored)
    direct = _quantized_directly(tiny_model, variant)["unet"]
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    ours, theirs = (network.get_submodule(name) for network in (loaded, direct))
    assert ours.weight.__tensor_flatten__()[1] == theirs.weight.__tensor_flatten__()[1]
    values = torch.randn(20, 32, dtype=torch.bfloat16)
    counter = WorkCounter()
    with torch.no_grad(), around_calls({"layer": ours}, counter.announced), counter:
        assert torch.equal(ours(values), theirs(values))
    assert {row.dtype for row in counter.rows()} == {"float8" if activations == "float8" else "bfloat16"}


def test_without_vnni_ranges_are_halved_and_other_models_refused(tiny_model, made, tmp_path, monkeypatch):
    """A CPU that overflows sums of INT8 products gets 7 bits a factor, and never silently a model made elsewhere."""
    variant = _variant(**FORMATS["dynamic"])
    monkeypatch.setattr(storage, "integer_sums_overflow", lambda: True)
    folder = _made(tiny_model, variant, tmp_path / "v")
    integers = [
        tensor
        for tensor in load_file(components.weight_files(folder, "unet")[0]).values()
        if tensor.dtype == torch.int8 and tensor.ndim == 2
    ]
    assert max(tensor.abs().max() for tensor in integers) == 64
    weight = load(folder, variant, "cpu").unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert weight.reduce_range and weight.act_quant_kwargs.reduce_range
    if not read_json(made["dynamic"] / "unet" / storage.MANIFEST)["reduce_range"]:
        with pytest.raises(UserError, match="VNNI.*dvc repro --force quantize@v"):
            load(made["dynamic"], variant, "cpu")
    load(made["weights"], _variant(), "cpu")


def test_compiled_networks_generates_the_same_image(made, monkeypatch):
    """`compile: true` runs the converted networks from graphs; with an interpreter of them, exactly the same."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    images = []
    for compiled in (False, True):
        pipeline = load(made["dynamic"], _variant(**FORMATS["dynamic"], compile=compiled), "cpu")
        images.append(generated(pipeline))
        assert hasattr(pipeline.unet.forward, "_torchdynamo_orig_callable") == compiled
    assert torch.equal(*images)


def test_blocks_compiled_alone_generate_the_same_image(made, monkeypatch):
    """`compile: blocks` compiles what the class of a network lists as repeated, and the network itself not."""
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(nn.Module.compile, backend="eager"))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain = load(made["dynamic"], _variant(**FORMATS["dynamic"]), "cpu")
    pipeline = load(made["dynamic"], _variant(**FORMATS["dynamic"], compile="blocks"), "cpu")
    compiled = {type(part).__name__ for part in pipeline.unet.modules() if part._compiled_call_impl is not None}
    assert compiled == {"BasicTransformerBlock"}
    assert torch.equal(generated(plain), generated(pipeline))


def test_layers_narrower_than_asked_stay(tiny_model, tmp_path):
    """`least_width` is of both widths."""
    folder = _made(tiny_model, _variant(least_width=64, components=["unet"]), tmp_path / "v")
    network = components.load_component(tiny_model, "unet", "float32")
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    wide = {name for name, linear in linears.items() if min(linear.in_features, linear.out_features) >= 64}
    assert set(read_json(folder / "unet" / storage.MANIFEST)["linear"]) == wide
    assert 0 < len(wide) < len(linears)


def test_int4_converts_layers_that_its_kernel_pads_little(tiny_model):
    """Its rows are multiples of 1024 weights: what would come out larger than INT8 stays."""
    widths = {"exact": 3072, "little": 2432, "much": 1280, "small": 320}
    network = nn.ModuleDict({name: nn.Linear(width, 8, device="meta") for name, width in widths.items()})
    assert layers.chosen_layers(network, _variant(weights="int4"), []) == ["exact", "little"]


def test_a_variant_that_records_graphs_on_a_gpu_can_be_looked_at_without_one(made):
    """Protects `quantize`, which loads the result on the CPU to measure its size."""
    pipeline = load(made["weights"], _variant(compile="reduce-overhead", compute="float32"), "cpu")
    assert memory_bytes(pipeline.unet) < sum(disk_bytes(made["weights"]).values())


def test_a_missing_compiler_is_one_clear_message(made, monkeypatch):
    """Not a traceback of hundreds of lines in the middle of the first image."""
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "no-such-compiler")
    with pytest.raises(UserError, match=r"variants\.v\.compile.*C\+\+ compiler.*compile: false"):
        load(made["weights"], _variant(compile=True), "cpu")


def test_a_missing_package_is_told_with_the_command_that_installs_it(tiny_model, made, tmp_path, monkeypatch):
    """An optional package that is not there is no traceback."""
    find = importlib.util.find_spec
    monkeypatch.setattr(layers, "find_spec", lambda name: None if name == "torchao" else find(name))
    message = "needs torchao, not installed here: run `pip install torchao`"
    with pytest.raises(UserError, match=message):
        quantize(tiny_model, _variant(), tmp_path)
    with pytest.raises(UserError, match=message):
        load(made["weights"], _variant(), "cpu")


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


def test_two_runs_write_the_same_bytes(tiny_model, made, tmp_path):
    """DVC sees no change."""
    again = _made(tiny_model, _variant(**FORMATS["dynamic"]), tmp_path / "again")
    digests = [
        {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (made["dynamic"], again)
    ]
    assert digests[0] == digests[1]


def test_importing_the_package_says_nothing():
    """Kernels for other formats that a PyTorch without CUDA cannot load are no news; other messages still come."""
    code = (
        "import logging; from stages.lib.project.errors import run_stage\n"
        "def main():\n"
        "    import diffusers, torchao\n"
        "    from diffusers import UNet2DConditionModel\n"
        "    logging.getLogger('torchao').warning('Failed to load something else')\n"
        "run_stage(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["Failed to load something else"]
