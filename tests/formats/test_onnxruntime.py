"""Back end `onnxruntime`: similar, smaller, only where asked, sums that are those of the files, integers that ran."""

import gzip
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stages.lib.formats.shared.graphs import packages
from stages.lib.models import components
from stages.lib.models.calibration import write_calls
from stages.lib.models.inventory import ONNX_CONSTANTS, ONNX_GRAPH, disk_bytes, memory_bytes
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of
from tests.conftest import PROJECT
from tests.reference import COMPONENTS, calibration_of, generated, reference_pipeline

onnx = pytest.importorskip("onnx", reason="the back end's package is optional")
pytest.importorskip("onnxruntime", reason="the back end's package is optional")

from stages.lib.formats.onnxruntime.backend import executed_work, inventory, load, quantize  # noqa: E402 - needs them

FORMATS = {"fp32": {"weights": "float32"}, "int8": {"weights": "int8", "activations": "int8"}}
# Of 471,871 parameters, the VAE's encoder has the rest.
STORED_PARAMETERS = {"unet": 253364, "vae": 101975, "text_encoder": 34304, "safety_checker": 16244}
MAKE = """
import sys
from pathlib import Path
from stages.lib.formats.onnxruntime.backend import quantize
from stages.lib.models.calibration import read_calls
from stages.lib.project.params import variant_of
base, inputs, out = map(Path, sys.argv[1:])
variant = variant_of(
    name="v", label="V", backend="onnxruntime", device="cpu", compute="float32", weights="int8", activations="int8"
)
quantize(base, variant, out, calibration=read_calls(inputs))
"""


def _variant(**keys) -> Variant:
    return variant_of(name="v", label="V", backend="onnxruntime", device="cpu", compute="float32", **keys)


@pytest.fixture(scope="module")
def calibration(tiny_model) -> dict:
    """What the networks see while the FP32 pipeline generates one image."""
    return calibration_of(tiny_model)


@pytest.fixture(scope="module")
def made(tiny_model, calibration, tmp_path_factory) -> dict[str, Path]:
    """One folder per format, made once."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FORMATS}
    for name, folder in folders.items():
        quantize(tiny_model, _variant(**FORMATS[name]), folder, calibration=calibration)
    return folders


def _load(made: dict[str, Path], name: str):
    return load(made[name], _variant(**FORMATS[name]), "cpu")


def _error(pipeline, reference: torch.Tensor) -> float:
    return ((generated(pipeline) - reference).norm() / reference.norm()).item()


def test_the_fp32_control_generates_what_pytorch_generates(tiny_model, made):
    """Every network is exported faithfully, to a relative error of 1e-4, and the safety checker decides alike."""
    base, pipeline = reference_pipeline(tiny_model), _load(made, "fp32")
    assert _error(pipeline, generated(base)) < 1e-4
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    checkers = [part.safety_checker for part in (base, pipeline)]
    with torch.no_grad():
        expected, found = (part.visual_projection(part.vision_model(pixels)[1]) for part in checkers)
        assert torch.allclose(expected, found, atol=1e-5)
        images = [torch.rand(2, 32, 32, 3).numpy() for _ in checkers]
        flags = [part(images=image, clip_input=pixels)[1] for part, image in zip(checkers, images, strict=True)]
    assert flags[0] == flags[1]


def test_int8_is_smaller_and_similar(tiny_model, made):
    """The constants of a tiny network shrink to less than 0.35 of FP32, and the image is close but not the same."""
    constants = {name: sum(tensor.stored_bytes for tensor in _stock(made, name)) for name in made}
    assert constants["int8"] < 0.35 * constants["fp32"]
    assert 1e-4 < _error(_load(made, "int8"), generated(reference_pipeline(tiny_model))) < 0.3


def _stock(made: dict[str, Path], name: str) -> list:
    return inventory(made[name], _variant(**FORMATS[name]))


@pytest.mark.parametrize("name", FORMATS)
def test_the_inventory_is_the_bytes_on_disk(made, name):
    """Each constant once, nothing forgotten; every parameter but the VAE's encoder's stands somewhere."""
    tensors, disk = _stock(made, name), disk_bytes(made[name])
    for component in COMPONENTS:
        mine = [tensor for tensor in tensors if tensor.component == component]
        folder = made[name] / component
        graph = onnx.load_model_from_string(gzip.decompress((folder / ONNX_GRAPH).read_bytes())).graph
        files = (folder / ONNX_CONSTANTS).stat().st_size + sum(len(tensor.raw_data) for tensor in graph.initializer)
        if component == "safety_checker":
            with safe_open(folder / "model.safetensors", framework="pt") as file:
                files += sum(file.get_tensor(key).nbytes for key in file.keys())  # noqa: SIM118 - not a dictionary
        # Constants outside the graph are aligned, to 64 bytes at most.
        assert 0 <= files - sum(tensor.stored_bytes for tensor in mine) <= 64 * len(mine)
        assert sum(tensor.parameters for tensor in mine) == STORED_PARAMETERS[component]
        assert disk[component] == sum(
            path.stat().st_size for path in folder.iterdir() if path.suffix in (".gz", ".data", ".safetensors")
        )
    stored = {
        dtype: sum(tensor.parameters for tensor in tensors if tensor.dtype == dtype) for dtype in ("int8", "float32")
    }
    assert stored["int8"] > 0.9 * sum(STORED_PARAMETERS.values()) if name == "int8" else stored["int8"] == 0
    unet = {(tensor.operator, tensor.dtype) for tensor in tensors if tensor.component == "unet" and tensor.parameters}
    assert {("Conv2d", "int8"), ("Linear", "int8")} <= unet or name == "fp32"


@pytest.mark.parametrize("name", FORMATS)
def test_almost_every_parameter_is_a_constant_of_its_own(made, name):
    """The graph names its weights, so that the table of operators is no guess: what was folded is less than 1 %."""
    folded = sum(tensor.parameters for tensor in _stock(made, name) if tensor.stored_bytes == 0)
    assert folded < 0.01 * sum(STORED_PARAMETERS.values())


@pytest.mark.parametrize(("name", "dtype"), [("fp32", "float32"), ("int8", "int8")])
def test_the_runtime_says_which_arithmetic_it_executes(made, name, dtype):
    """Integer kernels run in INT8, in every component, and nowhere else: stored integers are no proof."""
    rows = executed_work(load(made[name], _variant(**FORMATS[name]), "cpu"), COMPONENTS)
    assert {row["component"] for row in rows} == set(COMPONENTS)
    layers = {(row["component"], row["operator"]) for row in rows}
    assert {("unet", "Conv2d"), ("unet", "Linear"), ("vae", "Conv2d")} <= layers
    assert {row["dtype"] for row in rows if row["operator"] != "MatMul"} == {dtype}, rows


def test_an_unchosen_component_stays_as_it_is(tiny_model, calibration, tmp_path):
    """`components: [text_encoder]` leaves the bytes of the others, and the mixture draws."""
    variant = _variant(**FORMATS["int8"], components=("text_encoder",))
    quantize(tiny_model, variant, tmp_path, calibration=calibration)
    for component in ("unet", "vae", "safety_checker"):
        (base,), (made,) = (components.weight_files(part, component) for part in (tiny_model, tmp_path))
        with safe_open(base, "pt") as before, safe_open(made, "pt") as after:
            assert all(torch.equal(before.get_tensor(key), after.get_tensor(key)) for key in before.keys())  # noqa: SIM118
    assert generated(load(tmp_path, variant, "cpu")).isfinite().all()
    assert sum(tensor.parameters for tensor in inventory(tmp_path, variant)) == 471871


def test_another_process_writes_the_same_bytes(tiny_model, calibration, made, tmp_path):
    """DVC sees no change: neither the order of sets nor names counted within a process are stored."""
    write_calls(tmp_path / "inputs.safetensors", calibration)
    (tmp_path / "v").mkdir()
    subprocess.run(
        [sys.executable, "-c", MAKE, tiny_model, tmp_path / "inputs.safetensors", tmp_path / "v"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=True,
    )
    digests = [
        {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (made["int8"], tmp_path / "v")
    ]
    assert digests[0] == digests[1]


def test_memory_counts_what_the_runtime_holds(made):
    """A session is not zero bytes, though it has no parameters for PyTorch to count."""
    sizes = {name: memory_bytes(_load(made, name).unet) for name in made}
    assert sizes["fp32"] == pytest.approx(4 * STORED_PARAMETERS["unet"], rel=0.02)
    assert sizes["int8"] < 0.35 * sizes["fp32"]


@pytest.mark.parametrize("file", [ONNX_GRAPH, ONNX_CONSTANTS])
def test_a_file_that_was_changed_is_refused(made, tmp_path, file):
    """Neither other weights nor another graph are run or counted without a word."""
    folder = shutil.copytree(made["fp32"], tmp_path / "v")
    path, variant = folder / "vae" / file, _variant(**FORMATS["fp32"])
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    for use in (lambda: load(folder, variant, "cpu"), lambda: inventory(folder, variant)):
        with pytest.raises(UserError, match=rf"vae/{file} is not the file that .*onnxruntime.json lists: delete"):
            use()
    path.unlink()
    with pytest.raises(UserError, match=rf"vae/{file} is missing: delete"):
        load(folder, variant, "cpu")


def test_int8_without_calibration_inputs_is_refused(tiny_model, tmp_path):
    """Ranges are never guessed from random numbers."""
    with pytest.raises(UserError, match="no calibration calls of 'unet': add prompts"):
        quantize(tiny_model, _variant(**FORMATS["int8"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_command_that_installs_it(tiny_model, made, tmp_path, monkeypatch):
    """An optional package that is not there is no traceback."""
    find = importlib.util.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in ("onnx", "onnxruntime") else find(name))
    with pytest.raises(UserError, match="needs onnx and onnxruntime, not installed here: run `pip install onnx onnx"):
        quantize(tiny_model, _variant(**FORMATS["fp32"]), tmp_path)
    with pytest.raises(UserError, match="needs onnx and onnxruntime, not installed"):
        load(made["fp32"], _variant(**FORMATS["fp32"]), "cpu")


def test_another_batch_gets_a_session_when_it_comes(made):
    """An image without guidance has a batch of one."""
    pipeline = _load(made, "fp32")
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = pipeline("a cat", latents=noise, num_inference_steps=2, guidance_scale=1.0, output_type="latent").images
    assert latents.isfinite().all() and len(pipeline.unet.graph.prepared) == 2
