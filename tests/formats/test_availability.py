"""What keeps a variant from running here is found before anything is imported, and told with its remedy."""

import json

import pytest

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.availability import (
    find_obstacle,
    obstacle_left_in,
    obstacle_of,
    passed_on,
)
from stages.lib.project.errors import UserError
from stages.lib.project.params import OPTIONS, Variant, variant_of
from stages.lib.project.variant import legal_values

CPU = {"gpu": None, "gpu_compute_capability": None, "instruction_sets": ["avx2"]}
OLD_GPU = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 8.6}
NEW_GPU = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 9.0}
TORCH = {"backend": "torch", "weights": "float16"}
OPENVINO = {"backend": "openvino", "weights": "float32", "device": "cpu", "compute": "bfloat16"}
INSTALLED = {"openvino": "1", "nncf": "1"}


def variant(**fields: str) -> Variant:
    return variant_of(name="v", label="V", **fields)


FLOAT8 = {"backend": "torchao", "weights": "float8"}
NO_FLOAT8 = {"reason": "needs_capability", "capability": 8.9, "dtype": "float8"}
TENSORFLOAT32 = {"backend": "torch", "weights": "float32", "device": "cuda", "compute": "tensorfloat32"}
TURING = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 7.5}
NO_TENSORFLOAT32 = {"reason": "needs_capability", "capability": 8.0, "dtype": "tensorfloat32"}
LLM_INT8 = {"backend": "bitsandbytes", "weights": "int8"}
GGUF = {"backend": "gguf", "weights": "q8_0"}
SDNQ = {"backend": "sdnq", "weights": "int8", "activations": "int8"}
OVERFLOWS = {"reason": "integers_overflow", "sets": ["avx512_vnni", "avx_vnni", "amx_int8", "asimddp"]}
PASCAL = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 6.1}
NO_BF16 = {
    "reason": "needs_instruction_set",
    "key": "compute",
    "value": "bfloat16",
    "sets": ["avx512_bf16", "amx_bf16", "bf16"],
}
NO_BF16_IN_A_CALL = {**NO_BF16, "key": "schedule", "value": "mixed"}


@pytest.mark.parametrize(
    ("fields", "device", "machine", "packages", "obstacle"),
    [
        (TORCH, "auto", CPU, {}, None),
        (TORCH, "cuda", CPU, {}, {"reason": "no_cuda"}),
        ({**TORCH, "device": "cpu"}, "cuda", CPU, {}, None),
        ({**TORCH, "device": "cuda"}, "cpu", CPU, {}, {"reason": "no_cuda"}),
        ({**TORCH, "device": "cuda"}, "cpu", OLD_GPU, {}, None),
        (OPENVINO, "cpu", CPU, {**INSTALLED, "nncf": None}, {"reason": "not_installed", "packages": ["nncf"]}),
        (OPENVINO, "cpu", CPU, dict.fromkeys(INSTALLED), {"reason": "not_installed", "packages": ["openvino", "nncf"]}),
        (OPENVINO, "cpu", CPU, INSTALLED, NO_BF16),
        (OPENVINO, "cpu", {**CPU, "instruction_sets": ["amx_bf16"]}, INSTALLED, None),
        ({**OPENVINO, "compute": "float32"}, "cpu", CPU, INSTALLED, None),
        ({**OPENVINO, "compute": "float32", "schedule": ["mixed"]}, "cpu", CPU, INSTALLED, NO_BF16_IN_A_CALL),
        (TENSORFLOAT32, "cpu", TURING, {}, NO_TENSORFLOAT32),
        (TENSORFLOAT32, "cpu", OLD_GPU, {}, None),
        (FLOAT8, "auto", CPU, {}, NO_FLOAT8),
        (FLOAT8, "auto", OLD_GPU, {}, NO_FLOAT8),
        (FLOAT8, "cpu", NEW_GPU, {}, NO_FLOAT8),
        (FLOAT8, "auto", NEW_GPU, {}, None),
        (LLM_INT8, "auto", CPU, {"bitsandbytes": None}, {"reason": "not_installed", "packages": ["bitsandbytes"]}),
        (LLM_INT8, "auto", CPU, {}, None),
        (LLM_INT8, "auto", PASCAL, {}, {"reason": "needs_capability", "capability": 7.5, "dtype": "int8"}),
        ({**LLM_INT8, "weights": "nf4"}, "auto", PASCAL, {}, None),
        (LLM_INT8, "auto", TURING, {}, None),
        (GGUF, "auto", CPU, {"gguf": None}, {"reason": "not_installed", "packages": ["gguf"]}),
        ({"backend": "layerwise", "weights": "float8"}, "cpu", CPU, {}, None),
        (SDNQ, "auto", TURING, {"sdnq": None}, {"reason": "not_installed", "packages": ["sdnq"]}),
        (SDNQ, "auto", TURING, {"sdnq": "0.2.8"}, None),
        (SDNQ, "auto", PASCAL, {}, {"reason": "needs_capability", "capability": 7.5, "dtype": "int8"}),
        (SDNQ, "auto", CPU, {}, OVERFLOWS),
        (SDNQ, "cpu", PASCAL, {}, OVERFLOWS),
        (SDNQ, "auto", {**CPU, "instruction_sets": ["avx_vnni"]}, {}, None),
        ({**SDNQ, "activations": "none"}, "auto", PASCAL, {}, None),
    ],
)
def test_the_obstacle_follows_from_variant_and_machine(fields, device, machine, packages, obstacle):
    """Protects a format that runs from being left out, and a run from stopping at one that does not."""
    assert find_obstacle(variant(**fields), device, machine, packages) == obstacle


def test_every_back_end_has_a_line_and_says_what_it_needs():
    """A package with options and the registry are two lists of back ends: they must be the same."""
    assert set(OPTIONS) == set(BACKENDS)
    for name, options in OPTIONS.items():
        assert legal_values(options, "backend") == (name,)


def test_an_obstacle_is_passed_on_as_it_is(tmp_path, capsys):
    """From environment.json to a model folder to a report of one variant: the same code, and whole outputs."""
    missing = {"reason": "not_installed", "packages": ["a", "b"]}
    environment = tmp_path / "environment.json"
    environment.write_text(json.dumps({"obstacles": {"v": missing, "w": None}}), encoding="utf-8")
    given = obstacle_of(environment, variant(**TORCH))
    assert given == missing
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old.safetensors").touch()
    assert passed_on("quantize", variant(**TORCH), given, tmp_path / "model", tmp_path / "size/v.json")
    assert "V is left out (not_installed, packages a b)" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["unavailable.json"]
    assert obstacle_left_in(tmp_path / "model") == given
    report = json.loads((tmp_path / "size/v.json").read_text(encoding="utf-8"))
    assert report == {"variant": "v", "label": "V", "unavailable": missing}


def test_no_obstacle_writes_nothing(tmp_path):
    assert not passed_on("quantize", variant(**TORCH), obstacle_left_in(tmp_path), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_old_description_of_the_machine_names_the_command(tmp_path):
    """A description from before the variant was declared says nothing about it."""
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="says nothing about variant 'v': run `dvc repro environment`"):
        obstacle_of(tmp_path / "environment.json", variant(**TORCH))
