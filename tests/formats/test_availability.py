"""What keeps a variant from running here is found before anything is imported, and told with its remedy."""

import json

import pytest

from stages.lib.formats import BACKENDS, Backend
from stages.lib.formats.shared.availability import (
    Obstacle,
    find_obstacle,
    find_obstacles,
    obstacle_left_in,
    obstacle_of,
    passed_on,
)
from stages.lib.project.errors import UserError
from stages.lib.project.params import Variant, load_params
from tests.tiny_project import write_settings

CPU = {"gpu": None, "gpu_compute_capability": None, "instruction_sets": ["avx2"]}
OLD_GPU = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 8.6}
NEW_GPU = {**CPU, "gpu": "Invented GPU", "gpu_compute_capability": 9.0}
TORCH = {"backend": "torch", "weights": "float16"}
OPENVINO = {"backend": "openvino", "weights": "float32", "device": "cpu", "compute": "bfloat16"}
INSTALLED = {"openvino": "1", "nncf": "1"}


def variant(**fields: str) -> Variant:
    return Variant(name="v", label="V", **fields)


@pytest.mark.parametrize(
    ("fields", "device", "machine", "packages", "reason"),
    [
        (TORCH, "auto", CPU, {}, None),
        (TORCH, "cuda", CPU, {}, "cannot run here: PyTorch finds no CUDA device"),
        ({**TORCH, "device": "cpu"}, "cuda", CPU, {}, None),
        ({**TORCH, "device": "cuda"}, "cpu", CPU, {}, "cannot run here: PyTorch finds no CUDA device"),
        ({**TORCH, "device": "cuda"}, "cpu", OLD_GPU, {}, None),
        (OPENVINO, "cpu", CPU, {**INSTALLED, "nncf": None}, "nncf: not installed"),
        (OPENVINO, "cpu", CPU, dict.fromkeys(INSTALLED), "openvino and nncf: not installed"),
        (
            OPENVINO,
            "cpu",
            CPU,
            INSTALLED,
            "cannot run here: compute bfloat16 needs a processor with AVX512_BF16 or AMX_BF16",
        ),
        (OPENVINO, "cpu", {**CPU, "instruction_sets": ["amx_bf16"]}, INSTALLED, None),
        ({**OPENVINO, "compute": "float32"}, "cpu", CPU, INSTALLED, None),
    ],
)
def test_the_reason_follows_from_variant_and_machine(fields, device, machine, packages, reason):
    """Protects a format that runs from being left out, and a run from stopping at one that does not."""
    obstacle = find_obstacle(variant(**fields), device, machine, packages)
    assert (obstacle and obstacle.reason[: len(reason)]) == reason
    assert obstacle is None or obstacle.remedy


def test_a_format_that_only_a_new_gpu_has_is_left_out_elsewhere(monkeypatch):
    """FP8 on a CPU, or on a GPU that lacks it."""
    only_gpu = Backend(
        "none", ("float16",), ("none",), ("channel",), ("auto",), ("auto",), 1.0, 1.0, gpu_weights={"float16": 8.9}
    )
    monkeypatch.setitem(BACKENDS, "torch", only_gpu)
    reasons = [
        find_obstacle(variant(**TORCH, device="auto"), "auto", machine, {}) for machine in (CPU, OLD_GPU, NEW_GPU)
    ]
    assert [bool(reason) for reason in reasons] == [True, True, False]
    assert reasons[0].reason == "cannot run here: float16 needs a GPU of compute capability 8.9 or more"
    assert find_obstacle(variant(**TORCH, device="auto"), "cpu", NEW_GPU, {})


def test_a_baseline_that_is_not_there_is_a_mistake(tmp_path):
    """Nothing can be compared with it."""
    write_settings(tmp_path / "p")
    text = (tmp_path / "p/params.yaml").read_text(encoding="utf-8")
    (tmp_path / "p/params.yaml").write_text(text.replace("device: cpu", "device: cuda"), encoding="utf-8")
    with pytest.raises(UserError, match="baseline 'fp32'.*not available here.*no CUDA device: set `device`"):
        find_obstacles(load_params(tmp_path / "p/params.yaml"), CPU, {"torch": {}})


def test_an_obstacle_is_passed_on_as_it_is(tmp_path):
    """From environment.json to a model folder to a report of one variant: the same words, and whole outputs."""
    environment = tmp_path / "environment.json"
    environment.write_text(
        json.dumps({"obstacles": {"v": {"reason": "r", "remedy": "m"}, "w": None}}), encoding="utf-8"
    )
    given = obstacle_of(environment, variant(**TORCH))
    assert given == Obstacle("r", "m")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old.safetensors").touch()
    assert passed_on("quantize", variant(**TORCH), given, tmp_path / "model", tmp_path / "size/v.json")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["unavailable.json"]
    assert obstacle_left_in(tmp_path / "model") == given
    report = json.loads((tmp_path / "size/v.json").read_text(encoding="utf-8"))
    assert report == {"variant": "v", "label": "V", "unavailable": {"reason": "r", "remedy": "m"}}


def test_no_obstacle_writes_nothing(tmp_path):
    assert not passed_on("quantize", variant(**TORCH), obstacle_left_in(tmp_path), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_old_description_of_the_machine_names_the_command(tmp_path):
    """A description from before the variant was declared says nothing about it."""
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="says nothing about variant 'v': run `dvc repro environment`"):
        obstacle_of(tmp_path / "environment.json", variant(**TORCH))
