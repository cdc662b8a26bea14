"""Bytes on disk and in memory, counted through packed and wrapped tensors."""

import gzip
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from stages.lib.formats.torch_dynamic.backend import quantize_linears
from stages.lib.models import components
from stages.lib.models.inventory import (
    GRAPH,
    GRAPH_CONSTANTS,
    compression,
    disk_bytes,
    memory_bytes,
    runtime_bytes,
    stored_tensors,
)
from stages.lib.project.errors import UserError
from tests.reference import COMPONENTS, reference_pipeline


def test_the_inventory_accounts_for_every_parameter_and_byte(tiny_model):
    """Parameters add up to the loaded model's, and bytes to the file's but for its header."""
    pipeline, tensors, disk = reference_pipeline(tiny_model), stored_tensors(tiny_model), disk_bytes(tiny_model)
    for component in COMPONENTS:
        rows = [tensor for tensor in tensors if tensor.component == component]
        parameters = list(getattr(pipeline, component).parameters())
        assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in parameters)
        (path,) = components.weight_files(tiny_model, component)
        header_bytes = 8 + int.from_bytes(path.read_bytes()[:8], "little")
        assert sum(row.stored_bytes for row in rows) + header_bytes == disk[component] == path.stat().st_size


def test_operators_are_those_of_the_layers(tiny_model):
    """A tensor belongs to the layer that owns it, whatever its name looks like."""
    operators = {f"{tensor.component}.{tensor.name}": tensor.operator for tensor in stored_tensors(tiny_model)}
    assert operators["unet.conv_in.bias"] == "Conv2d"
    assert operators["unet.time_embedding.linear_1.weight"] == "Linear"
    assert operators["unet.down_blocks.1.attentions.0.norm.weight"] == "Normalization"
    assert operators["text_encoder.embeddings.token_embedding.weight"] == "Embedding"
    assert operators["safety_checker.concept_embeds"] == "Other"


def test_a_tensor_of_no_layer_is_refused(tiny_model, tmp_path):
    """A byte that nobody can explain must not slip into the tables."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (path,) = components.weight_files(folder, "vae")
    save_file({**load_file(path), "stranger": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="vae: tensor 'stranger'"):
        stored_tensors(folder)


def test_a_truncated_file_is_one_clear_message(tiny_model, tmp_path):
    """The header is checked against the size of the file."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (path,) = components.weight_files(folder, "vae")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="truncated or corrupt"):
        stored_tensors(folder)


def test_plain_parameters_and_buffers_count_once_each():
    """FP32, FP16 and a buffer by hand; a shared weight is one storage; a view does not count again."""
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 10).half(), nn.BatchNorm1d(10))
    assert memory_bytes(model) == (10 * 20 + 20) * 4 + (20 * 10 + 10) * 2 + 4 * 10 * 4 + 8
    tied = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    tied[1].weight = tied[0].weight
    tied.register_buffer("view", tied[0].weight.detach()[:3])
    assert memory_bytes(tied) == 10 * 10 * 4


@pytest.mark.parametrize(("granularity", "scales"), [("tensor", 1), ("channel", 64)])
def test_packed_weights_are_counted(granularity, scales):
    """Dynamic quantization hides weights from `parameters()`; they are in memory all the same."""
    model = nn.Sequential(nn.Linear(128, 64), nn.Conv2d(3, 5, 3)).eval()
    convolution = (3 * 5 * 9 + 5) * 4
    assert memory_bytes(model) == (128 * 64 + 64) * 4 + convolution
    quantize_linears(model, granularity)
    assert sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) == convolution
    assert memory_bytes(model) == 128 * 64 + 64 * 4 + scales * 8 + convolution


class _Wrapped(torch.Tensor):
    """A tensor that says it is FP32 and keeps INT8 integers and a scale, as torchao's and quanto's do."""

    @staticmethod
    def __new__(cls, integers, scale):
        return torch.Tensor._make_wrapper_subclass(cls, integers.shape, dtype=torch.float32)

    def __init__(self, integers, scale):
        self.integers, self.scale = integers, scale

    def __tensor_flatten__(self):
        return ["integers", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return cls(args[0].integers, args[0].scale)
        raise NotImplementedError(function)


def test_the_real_storage_of_a_tensor_subclass_is_counted():
    """A wrapper reports its original bytes; inside are a quarter of them and a scale. Wrappers may be nested."""
    layer = nn.Linear(100, 50, bias=False)
    wrapped = _Wrapped(torch.zeros(50, 100, dtype=torch.int8), torch.ones(50))
    layer.weight = nn.Parameter(wrapped, requires_grad=False)
    assert layer.weight.numel() * layer.weight.element_size() == 50 * 100 * 4
    assert memory_bytes(layer) == 50 * 100 + 50 * 4
    nested = _Wrapped(_Wrapped(torch.zeros(50, 100, dtype=torch.int8), torch.ones(50)), torch.ones(2))
    layer.weight = nn.Parameter(nested, requires_grad=False)
    assert memory_bytes(layer) == 50 * 100 + 50 * 4 + 2 * 4


def test_torchao_weights_are_counted_as_they_are():
    """The same with the real library, where it is installed."""
    quantization = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(256, 128, bias=False)).eval()
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    assert 128 * 256 <= memory_bytes(model) <= 128 * 256 + 128 * 12


def test_no_weight_is_read_to_take_stock(tiny_model, monkeypatch):
    """Headers are enough, so that the inventory of a large model is cheap."""
    monkeypatch.setattr(
        "safetensors.safe_open",
        lambda *arguments, **keys: _HeaderOnly(safe_open(*arguments, **keys)),
    )
    assert len(stored_tensors(tiny_model)) == 396


class _HeaderOnly:
    """A safetensors file whose tensors cannot be read."""

    def __init__(self, file):
        self.keys, self.get_slice, self.metadata = file.keys, file.get_slice, file.metadata

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_compression_compares_equal_parameters():
    """Protects against a format that looks smaller because it leaves out what generation does not need."""
    baseline = {"disk_mib": 40.0, "parameters": 10, "parameters_left_out": 0}
    assert compression(baseline, baseline) == 1
    assert compression(baseline, {"disk_mib": 10.0, "parameters": 10, "parameters_left_out": 0}) == 4
    assert compression(baseline, {"disk_mib": 8.0, "parameters": 8, "parameters_left_out": 2}) == 4


def test_a_baseline_against_itself_is_1_whatever_it_leaves_out():
    """Protects an OpenVINO baseline, without a VAE's encoder, from 0.92 against itself and 3.52 where 3.83 is right."""
    openvino = {"disk_mib": 33.0, "parameters": 8_200_000, "parameters_left_out": 700_000}
    assert compression(openvino, openvino) == 1
    assert compression(openvino, openvino | {"disk_mib": 33.0 / 3.83}) == pytest.approx(3.83)


def test_a_compressed_graph_is_counted_as_stored_and_as_loaded(tiny_model, tmp_path):
    """1.39 MiB of graph that take 0.07 on disk: both are said; a file that is not compressed counts alike."""
    text = b"<layer/>" * 100_000
    shutil.copy(tiny_model / "model_index.json", tmp_path)
    for component in COMPONENTS:
        (tmp_path / component).mkdir()
        (tmp_path / component / GRAPH).write_bytes(gzip.compress(text))
        (tmp_path / component / GRAPH_CONSTANTS).write_bytes(bytes(1000))
    assert runtime_bytes(tmp_path) == dict.fromkeys(COMPONENTS, len(text) + 1000)
    assert max(disk_bytes(tmp_path).values()) < 4000
