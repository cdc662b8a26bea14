"""Back end `torch`: casts, simulated integer weights, and arithmetic in another dtype than the stored one."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.formats.shared.quantization import dequantize, quantize_weight
from stages.lib.formats.torch.backend import inventory, load, quantize
from stages.lib.generation.sampling import use_exact_float32
from stages.lib.models import components
from stages.lib.models.inventory import memory_bytes
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of
from tests.reference import COMPONENTS, generated, reference_pipeline


def _variant(weights: str, **keys) -> Variant:
    simulated = weights.startswith("int")
    return variant_of(name="v", label="V", backend="torch", weights=weights, simulated=simulated, **keys)


def _made(base: Path, variant: Variant, folder: Path) -> Path:
    folder.mkdir()
    quantize(base, variant, folder)
    return folder


@pytest.fixture(scope="module")
def base_image(tiny_model) -> torch.Tensor:
    """What the base model generates in FP32."""
    return generated(reference_pipeline(tiny_model))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{component}.{name}": tensor
        for component in COMPONENTS
        for path in components.weight_files(folder, component)
        for name, tensor in load_file(path).items()
    }


@pytest.mark.parametrize("weights", ["float32", "float16", "bfloat16"])
def test_a_cast_stores_every_weight_in_its_dtype(tiny_model, tmp_path, weights):
    """The stored numbers are the base model's, rounded once, under the same names."""
    base, made = _weights(tiny_model), _weights(_made(tiny_model, _variant(weights), tmp_path / "v"))
    dtype = getattr(torch, weights)
    assert base.keys() == made.keys()
    assert all(torch.equal(made[name], tensor.to(dtype)) and made[name].dtype == dtype for name, tensor in base.items())


def test_fp32_generates_the_base_models_image(tiny_model, tmp_path, base_image):
    """The baseline is the model itself, bit for bit."""
    folder = _made(tiny_model, _variant("float32"), tmp_path / "v")
    assert torch.equal(generated(load(folder, _variant("float32"), "cpu")), base_image)


@pytest.mark.parametrize(
    ("component", "key", "value"),
    [("unet", "cross_attention_dim", 48), ("vae", "latent_channels", 8), ("text_encoder", "hidden_size", 48)],
)
def test_weights_that_do_not_fit_the_configuration_are_one_message(tiny_model, tmp_path, component, key, value):
    """Protects a user whose model mixes files of two models from a traceback inside a library."""
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    path = base / component / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(UserError, match=f"{component} is no sound ") as caught:
        _made(base, _variant("float32"), tmp_path / "v")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["float16", "bfloat16"])
def test_fp32_arithmetic_on_stored_halves_is_exact(tiny_model, tmp_path, weights):
    """FP16 storage with FP32 arithmetic generates what an FP32 pipeline with the rounded weights generates, bit for
    bit.

    It protects against a layer, embedding or attention input that is silently computed in FP16.
    """
    variant = _variant(weights, compute="float32")
    pipeline = load(_made(tiny_model, variant, tmp_path / "v"), variant, "cpu")
    reference = reference_pipeline(tiny_model)
    with torch.no_grad():
        for component in COMPONENTS:
            for parameter in getattr(reference, component).parameters():
                parameter.copy_(parameter.to(getattr(torch, weights)))
    assert torch.equal(generated(pipeline), generated(reference))
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        features, expected = (
            part.safety_checker.visual_projection(part.safety_checker.vision_model(pixels)[1])
            for part in (pipeline, reference)
        )
    # Not bit for bit: some processors' kernels sum in another order where weights lie elsewhere in memory. FP16 would
    # be 1e-3 off.
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_fp16_stays_fp16_in_memory_after_drawing(tiny_model, tmp_path):
    """Storage is really halved: no layer keeps an FP32 copy once it has run."""
    half = load(_made(tiny_model, _variant("float16"), tmp_path / "h"), _variant("float16"), "cpu")
    full = reference_pipeline(tiny_model)
    generated(half)
    for component in COMPONENTS:
        share = memory_bytes(getattr(half, component)) / memory_bytes(getattr(full, component))
        assert 0.5 <= share < 0.52, component


@pytest.mark.parametrize(("weights", "expected"), [("float16", torch.float32), ("bfloat16", torch.bfloat16)])
def test_every_layer_computes_in_the_declared_dtype(tiny_model, tmp_path, weights, expected):
    """On a CPU BF16 weights mean BF16 arithmetic, and FP16 weights FP32, in every network."""
    pipeline = load(_made(tiny_model, _variant(weights), tmp_path / "v"), _variant(weights), "cpu")
    seen: dict[str, set] = {component: set() for component in COMPONENTS}
    for component in COMPONENTS:
        for module in getattr(pipeline, component).modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.LayerNorm | torch.nn.GroupNorm):
                module.register_forward_hook(
                    lambda _, inputs, output, component=component: seen[component].add(inputs[0].dtype)
                )
    generated(pipeline)
    with torch.no_grad():
        pipeline.safety_checker(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
        pipeline.vae.encode(torch.rand(1, 3, 32, 32))
    assert seen == {component: {expected} for component in COMPONENTS}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("weights", ["float16", "bfloat16"])
def test_components_of_different_dtypes_work_together(tiny_model, tmp_path, base_image, weights, component):
    """Any one component may be converted alone; the others keep their bytes."""
    variant = _variant(weights, components=[component])
    folder = _made(tiny_model, variant, tmp_path / "v")
    dtypes = {name: {tensor.dtype} for name, tensor in _weights(folder).items()}
    assert all(
        dtype == {getattr(torch, weights) if name.startswith(f"{component}.") else torch.float32}
        for name, dtype in dtypes.items()
    )
    pipeline = load(folder, variant, "cpu")
    image = generated(pipeline)
    difference = (image - base_image).abs().max()
    assert image.isfinite().all() and difference < 0.05
    assert (difference == 0) == (component == "safety_checker")


def test_the_safety_checker_does_not_round_the_image(tiny_model, tmp_path):
    """A BF16 checker passes images through in FP32, untouched, when it flags nothing."""
    pipeline = load(_made(tiny_model, _variant("bfloat16"), tmp_path / "v"), _variant("bfloat16"), "cpu")
    with torch.no_grad():
        pipeline.safety_checker.concept_embeds_weights.fill_(2.0)
        pipeline.safety_checker.special_care_embeds_weights.fill_(2.0)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    passed, flagged = pipeline.safety_checker(images=image.clone(), clip_input=image)
    assert flagged == [False] and torch.equal(passed, image)


def test_a_weight_too_large_for_fp16_is_one_clear_message(tiny_model, tmp_path, monkeypatch):
    """An overflow would otherwise become black images much later."""
    original = components.load_component

    def with_a_large_weight(folder, component, dtype):
        model = original(folder, component, dtype)
        if component == "vae":
            model.decoder.conv_in.weight[0, 0, 0, 0] = -70000.0
        return model

    monkeypatch.setattr("stages.lib.formats.torch.backend.load_component", with_a_large_weight)
    with pytest.raises(UserError, match=r"vae: tensor 'decoder.conv_in.weight' .*70000.*float16.*bfloat16"):
        _made(tiny_model, _variant("float16"), tmp_path / "v")
    _made(tiny_model, _variant("bfloat16"), tmp_path / "w")


@pytest.mark.parametrize(
    ("weights", "bits", "granularity", "size"),
    [("int8", 8, "tensor", None), ("int8", 8, "channel", None), ("int6", 6, "channel", None), ("int4", 4, "group", 24)],
)
def test_simulated_integers_are_stored_as_rounded_weights_in_fp16(
    tiny_model, tmp_path, weights, bits, granularity, size
):
    """Weights of Conv2d, Linear and Embedding are on their integer grid; everything else is only cast."""
    variant = _variant(weights, granularity=granularity, **({"group_size": size} if size else {}))
    folder = _made(tiny_model, variant, tmp_path / "v")
    base, made = _weights(tiny_model), _weights(folder)
    operators = {f"{tensor.component}.{tensor.name}": tensor.operator for tensor in inventory(folder, variant)}
    rounded = 0
    for name, tensor in base.items():
        expected = tensor
        if operators[name] in ("Conv2d", "Linear", "Embedding") and name.endswith(".weight"):
            expected = dequantize(*quantize_weight(tensor, bits, granularity, size), size)
            rounded += tensor.numel()
        assert made[name].dtype == torch.float16 and torch.equal(made[name], expected.half()), name
    assert rounded > 0.97 * sum(tensor.numel() for tensor in base.values())
    assert generated(load(folder, variant, "cpu")).isfinite().all()


def test_the_same_model_gives_the_same_bytes(tiny_model, tmp_path):
    """A second run writes identical files, so DVC sees no change."""
    first, second = (_made(tiny_model, _variant("int8"), tmp_path / name) for name in ("a", "b"))
    digests = [
        {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    assert digests[0] == digests[1]


def test_large_networks_are_written_in_shards_that_load(tiny_model, tmp_path, monkeypatch):
    """A component above the limit becomes several files with an index; nothing is lost."""
    monkeypatch.setattr(components, "MAX_SHARD_BYTES", 200_000)
    folder = _made(tiny_model, _variant("float16"), tmp_path / "v")
    assert len(components.weight_files(folder, "unet")) > 1
    assert _weights(folder).keys() == _weights(tiny_model).keys()
    assert generated(load(folder, _variant("float16"), "cpu")).isfinite().all()


def test_a_model_with_a_missing_tensor_is_refused(tiny_model, tmp_path):
    """A missing tensor must not be filled with random numbers."""
    base = shutil.copytree(tiny_model, tmp_path / "base")
    path = base / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    del state["conv_out.bias"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"unet: tensor 'conv_out.bias' is missing"):
        _made(base, _variant("float16"), tmp_path / "v")


def _older_attention_name(name: str) -> str:
    for today, older in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        name = name.replace(f".{today}.", f".{older}.")
    return name


_OLDER_NAMES = {
    "vae": _older_attention_name,
    "text_encoder": lambda name: f"text_model.{name}",
    "safety_checker": lambda name: name.replace("vision_model.", "vision_model.vision_model.", 1),
}


def test_the_older_names_of_published_weights_are_understood(tiny_model, tmp_path):
    """Stable Diffusion v1.5's files name layers as older library versions did; what is written has today's names."""
    base = shutil.copytree(tiny_model, tmp_path / "base")
    for component, older_name in _OLDER_NAMES.items():
        (path,) = components.weight_files(base, component)
        state = load_file(path)
        older = {older_name(name): tensor for name, tensor in state.items()}
        assert older.keys() != state.keys()
        save_file(older, path, metadata={"format": "pt"})
    made, expected = _weights(_made(base, _variant("float32"), tmp_path / "v")), _weights(tiny_model)
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], tensor) for name, tensor in expected.items())


def test_channels_last_generates_the_same_image_from_other_strides(tiny_model, tmp_path, base_image):
    """The memory format is a layout of the converted networks, not another arithmetic."""
    variant = _variant("float32", memory_format="channels_last", components=("unet",))
    pipeline = load(_made(tiny_model, variant, tmp_path / "v"), variant, "cpu")
    assert pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert pipeline.vae.decoder.conv_in.weight.is_contiguous()
    assert torch.allclose(generated(pipeline), base_image, atol=1e-4)


def test_a_compiled_network_generates_the_same_image(tiny_model, tmp_path, base_image, monkeypatch):
    """Compiling happens in the first call, once, also with a clock around the network."""
    # What a graph is turned into is PyTorch's; making kernels would take a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    variant = _variant("float16", compile=True, components=("text_encoder",))
    made = _made(tiny_model, variant, tmp_path / "v")
    torch._dynamo.reset()
    compiled = torch._dynamo.utils.counters["stats"]
    pipeline = load(made, variant, "cpu")
    assert compiled["unique_graphs"] == 0
    eager = generated(load(made, variant.model_copy(update={"compile": False}), "cpu"))
    assert torch.allclose(generated(pipeline), eager, atol=1e-3)
    graphs = compiled["unique_graphs"]
    assert graphs > 0
    inner = pipeline.text_encoder.forward
    pipeline.text_encoder.forward = lambda *arguments, **options: inner(*arguments, **options)
    generated(pipeline)
    assert compiled["unique_graphs"] == graphs


def test_compiling_without_a_compiler_is_one_clear_message(tiny_model, tmp_path, monkeypatch):
    """Not a traceback of torch's from the first image."""
    variant = _variant("float32", compile=True)
    made = _made(tiny_model, variant, tmp_path / "v")
    monkeypatch.setattr("stages.lib.formats.shared.compiling.shutil.which", lambda _: None)
    with pytest.raises(UserError, match=r"'variants\.v\.compile' is true, which needs a C\+\+ compiler"):
        load(made, variant, "cpu")


def test_tf32_is_switched_on_by_its_variant_alone(tiny_model, tmp_path, monkeypatch):
    """FP32 of every other variant stays exact. (An older GPU is an obstacle: tests/formats/test_availability.py.)"""
    tf32, fp32 = _variant("float32", device="cuda", compute="tensorfloat32"), _variant("float32", device="cuda")
    made = _made(tiny_model, tf32, tmp_path / "v")
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)  # there may be no GPU here
    switches = lambda: (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)  # noqa: E731
    before = switches()
    try:
        use_exact_float32()
        load(made, fp32, "cuda")
        load(made, tf32, "cpu")
        assert switches() == ("highest", False)
        pipeline = load(made, tf32, "cuda")
        assert switches() == ("high", True)
        assert pipeline.unet.conv_in.weight.dtype == torch.float32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
