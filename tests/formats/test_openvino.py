"""Back end `openvino`: smaller, similar, only where asked, sums that are those of the files, and integers that ran."""

import gzip
import importlib.util
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stages.lib.formats.shared.graphs import packages
from stages.lib.models import components
from stages.lib.models.inventory import GRAPH, GRAPH_CONSTANTS, disk_bytes, memory_bytes
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of

pytest.importorskip("openvino", reason="the back end's package is optional")
pytest.importorskip("nncf", reason="the back end's package is optional")

from stages.lib.formats.openvino import networks  # noqa: E402 - they need the packages
from stages.lib.formats.openvino.backend import executed_work, inventory, load, quantize  # noqa: E402
from tests.reference import COMPONENTS, calibration_of, reference_pipeline  # noqa: E402

FORMATS = {
    "fp32": {"weights": "float32", "compute": "float32"},
    "bf16": {"weights": "float16", "compute": "float32"},
    "weights": {"weights": "int8", "compute": "float32"},
    "unet only": {
        "weights": "int8",
        "activations": "int8",
        "activation_components": ("unet",),
        "compute": "float32",
    },
    "full": {"weights": "int8", "activations": "int8", "compute": "float32"},
}
# Of 471,871 parameters, the VAE's encoder has the rest.
STORED_PARAMETERS = {"unet": 253364, "vae": 101975, "text_encoder": 34304, "safety_checker": 16244}


def _variant(**keys) -> Variant:
    return variant_of(name="v", label="V", backend="openvino", device="cpu", **keys)


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


def _image(pipeline, steps: int = 2) -> torch.Tensor:
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = pipeline("a cat", latents=noise, num_inference_steps=steps, output_type="latent").images
    with torch.no_grad():
        return pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]


def _error(pipeline, reference: torch.Tensor) -> float:
    return ((_image(pipeline) - reference).norm() / reference.norm()).item()


def test_the_fp32_control_generates_what_pytorch_generates(tiny_model, made):
    """Every network is converted faithfully, and the safety checker decides alike."""
    base, pipeline = reference_pipeline(tiny_model), load(made["fp32"], _variant(**FORMATS["fp32"]), "cpu")
    assert _error(pipeline, _image(base)) < 1e-4
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    checkers = [part.safety_checker for part in (base, pipeline)]
    with torch.no_grad():
        expected, found = (part.visual_projection(part.vision_model(pixels)[1]) for part in checkers)
        assert torch.allclose(expected, found, atol=1e-5)
        images = [torch.rand(2, 32, 32, 3).numpy() for _ in checkers]
        flags = [part(images=image, clip_input=pixels)[1] for part, image in zip(checkers, images, strict=True)]
    assert flags[0] == flags[1]


def test_fewer_bits_are_smaller_and_less_exact(tiny_model, made):
    """FP16 halves, INT8 quarters but for its scales; the error grows in that order and stays small."""
    reference = _image(reference_pipeline(tiny_model))
    constants = {
        name: sum(path.stat().st_size for path in folder.rglob(GRAPH_CONSTANTS)) for name, folder in made.items()
    }
    assert constants["bf16"] == pytest.approx(constants["fp32"] / 2, rel=0.03)
    assert constants["weights"] < 0.28 * constants["fp32"]
    assert constants["full"] < 0.30 * constants["fp32"]
    errors = [_error(load(folder, _variant(**FORMATS[name]), "cpu"), reference) for name, folder in made.items()]
    assert errors == sorted(errors) and errors[0] < 1e-4 and errors[-1] < 0.3, errors


@pytest.mark.parametrize("name", FORMATS)
def test_the_inventory_is_the_bytes_on_disk(made, name):
    """Each constant once, nothing forgotten; every parameter but the VAE's encoder's stands somewhere."""
    tensors = inventory(made[name], _variant(**FORMATS[name]))
    disk = disk_bytes(made[name])
    for component in COMPONENTS:
        mine = [tensor for tensor in tensors if tensor.component == component]
        folder = made[name] / component
        files = (folder / GRAPH_CONSTANTS).stat().st_size
        if component == "safety_checker":
            with safe_open(folder / "model.safetensors", framework="pt") as file:
                files += sum(file.get_tensor(key).nbytes for key in file.keys())  # noqa: SIM118 - not a dictionary
        # Constants are aligned, to 64 bytes at most.
        assert 0 <= files - sum(tensor.stored_bytes for tensor in mine) <= 64 * len(mine)
        assert sum(tensor.parameters for tensor in mine) == STORED_PARAMETERS[component]
        assert disk[component] == sum(
            path.stat().st_size for path in folder.iterdir() if path.suffix in (".gz", ".bin", ".safetensors")
        )
    integers = sum(tensor.parameters for tensor in tensors if tensor.dtype == "int8")
    assert integers > 0.97 * sum(STORED_PARAMETERS.values()) if "int8" in FORMATS[name].values() else integers == 0
    unet = {(tensor.operator, tensor.dtype) for tensor in tensors if tensor.component == "unet" and tensor.parameters}
    assert {("Conv2d", "int8"), ("Linear", "int8")} <= unet or "int8" not in FORMATS[name].values()


@pytest.mark.parametrize(("name", "dtype"), [("fp32", "float32"), ("weights", "float32"), ("full", "int8")])
def test_the_runtime_says_which_arithmetic_it_executes(made, name, dtype):
    """Integer kernels run in full INT8, in every component, and nowhere else: stored integers are no proof."""
    rows = executed_work(load(made[name], _variant(**FORMATS[name]), "cpu"), COMPONENTS)
    assert {row["component"] for row in rows} == set(COMPONENTS)
    assert {("unet", "Conv2d"), ("unet", "Linear"), ("vae", "Conv2d")} <= {
        (row["component"], row["operator"]) for row in rows
    }
    # Attention is left out, and so are the U-Net's and the decoder's first and last layers and the embedding of time.
    work = Counter()
    for row in rows:
        if row["operator"] != "MatMul":
            work[row["component"], row["dtype"]] += row["multiply_accumulates"]
    for component in COMPONENTS:
        whole = sum(count for (name, _), count in work.items() if name == component)
        assert work[component, dtype] > 0.75 * whole, work
    assert {executed for _, executed in work} <= {dtype, "float32"}
    assert {row["dtype"] for row in rows if row["operator"] == "MatMul" and row["component"] == "unet"} == {"float32"}
    assert all(row["time_s"] > 0 for row in rows)


def test_a_schedule_spares_the_first_calls_over_the_same_weights(made):
    """The first call is that of the graph without rounded activations, later ones are INT8, in each image anew."""
    full = _variant(**FORMATS["full"])
    plain, scheduled = (
        load(made["full"], full, "cpu"),
        load(made["full"], full.model_copy(update={"schedule": ("none",)}), "cpu"),
    )
    inputs = {
        "sample": torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(4)),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(5)),
    }
    for _ in range(2):
        scheduled.scheduler.set_timesteps(2)
        calls = [scheduled.unet(**inputs, return_dict=False)[0] for _ in range(3)]
        expected = plain.unet(**inputs, return_dict=False)[0]
        assert not torch.equal(calls[0], expected)
        assert torch.equal(calls[1], expected) and torch.equal(calls[2], expected)
    rows = executed_work(scheduled, COMPONENTS)
    layers = [row for row in rows if row["operator"] != "MatMul"]
    dtypes = {graph: {row["dtype"] for row in layers if row["graph"] == graph} for graph in ("main", "unquantized")}
    assert dtypes == {"main": {"int8", "float32"}, "unquantized": {"float32"}}
    assert torch.equal(_image(scheduled, 3), _image(scheduled, 3))


def test_an_unchosen_component_stays_as_it_is(tiny_model, calibration, tmp_path):
    """`components: [text_encoder]` leaves the bytes of the others, and the mixture draws."""
    variant = _variant(weights="int8", compute="float32", components=("text_encoder",))
    quantize(tiny_model, variant, tmp_path, calibration=calibration)
    for component in ("unet", "vae", "safety_checker"):
        (base,), (made,) = (components.weight_files(part, component) for part in (tiny_model, tmp_path))
        with safe_open(base, "pt") as before, safe_open(made, "pt") as after:
            assert all(torch.equal(before.get_tensor(key), after.get_tensor(key)) for key in before.keys())  # noqa: SIM118
    assert _image(load(tmp_path, variant, "cpu")).isfinite().all()
    assert sum(tensor.parameters for tensor in inventory(tmp_path, variant)) == 471871


def test_two_runs_write_the_same_bytes_and_generates_the_same_image(tiny_model, calibration, made, tmp_path):
    """DVC sees no change; the names that the libraries count up within a process are not stored."""
    variant = _variant(**FORMATS["full"])
    quantize(tiny_model, variant, tmp_path, calibration=calibration)
    digests = [
        {path.relative_to(folder): sha256(path) for path in folder.rglob("*") if path.is_file()}
        for folder in (made["full"], tmp_path)
    ]
    assert digests[0] == digests[1]
    assert torch.equal(_image(load(made["full"], variant, "cpu")), _image(load(tmp_path, variant, "cpu")))


def test_memory_counts_what_the_runtime_lists(made):
    """A compiled graph is not zero bytes, though it has no parameters for PyTorch to count."""
    sizes = {}
    for name in ("fp32", "full"):
        pipeline = load(made[name], _variant(**FORMATS[name]), "cpu")
        sizes[name] = {component: memory_bytes(getattr(pipeline, component)) for component in COMPONENTS}
    assert sizes["fp32"]["unet"] == pytest.approx(4 * STORED_PARAMETERS["unet"], rel=0.02)
    assert sizes["full"]["unet"] < 0.3 * sizes["fp32"]["unet"]


@pytest.mark.parametrize("file", [GRAPH, GRAPH_CONSTANTS])
def test_a_file_that_was_changed_is_refused(made, tmp_path, file):
    """Neither other weights nor another graph are run or counted without a word."""
    folder = shutil.copytree(made["fp32"], tmp_path / "v")
    path, variant = folder / "vae" / file, _variant(**FORMATS["fp32"])
    if file == GRAPH:
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"swish", b"gelu") + b" "))
    else:
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
    for use in (lambda: load(folder, variant, "cpu"), lambda: inventory(folder, variant)):
        with pytest.raises(UserError, match=rf"vae/{file} is not the file that .*openvino.json lists: delete"):
            use()
    path.unlink()
    with pytest.raises(UserError, match=rf"vae/{file} is missing: delete"):
        load(folder, variant, "cpu")


def test_full_int8_without_calibration_inputs_is_refused(tiny_model, tmp_path):
    """Ranges are never guessed from random numbers."""
    with pytest.raises(UserError, match="no calibration calls of 'unet': add prompts"):
        quantize(tiny_model, _variant(**FORMATS["full"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_command_that_installs_it(tiny_model, made, tmp_path, monkeypatch):
    """An optional package that is not there is no traceback."""
    find = importlib.util.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in ("openvino", "nncf") else find(name))
    with pytest.raises(UserError, match="needs openvino and nncf, not installed here: run `pip install openvino nncf`"):
        quantize(tiny_model, _variant(**FORMATS["fp32"]), tmp_path)
    with pytest.raises(UserError, match="needs openvino, not installed"):
        load(made["fp32"], _variant(**FORMATS["fp32"]), "cpu")


def test_a_call_that_is_not_the_traced_one_is_refused(made):
    """A condition that the graph would silently lose is an error."""
    unet = load(made["fp32"], _variant(**FORMATS["fp32"]), "cpu").unet
    inputs = {"sample": torch.randn(2, 4, 16, 16), "timestep": torch.tensor(5)}
    inputs["encoder_hidden_states"] = torch.randn(2, 16, 32)
    unet(**inputs, return_dict=False)
    with pytest.raises(UserError, match="UNet2DConditionModel is called with other arguments than its graph was made"):
        unet(**inputs, return_dict=False, added_cond_kwargs={"image_embeds": torch.randn(2, 8)})


def test_another_batch_is_compiled_when_it_comes(made):
    """An image without guidance has a batch of one."""
    pipeline = load(made["fp32"], _variant(**FORMATS["fp32"]), "cpu")
    assert isinstance(pipeline.unet.graph, networks.Graph)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = pipeline("a cat", latents=noise, num_inference_steps=2, guidance_scale=1.0, output_type="latent").images
    assert latents.isfinite().all() and len(pipeline.unet.graph.prepared) == 2


def test_activations_are_rounded_only_where_asked(made):
    """Protects `activation_components`: integer kernels in the U-Net alone, INT8 weights everywhere."""
    variant = _variant(**FORMATS["unet only"])
    rows = executed_work(load(made["unet only"], variant, "cpu"), COMPONENTS)
    integers = {row["component"] for row in rows if row["dtype"] == "int8"}
    assert integers == {"unet"}
    stored = {tensor.component for tensor in inventory(made["unet only"], variant) if tensor.dtype == "int8"}
    assert stored == set(COMPONENTS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked to take mapped pages back")
def test_the_mapped_constants_do_not_stay_in_memory(made):
    """What compiling read is let go of while its graph stays."""
    pipeline = load(made["full"], _variant(**FORMATS["full"]), "cpu")
    constants = str((made["full"] / "unet" / GRAPH_CONSTANTS).resolve())
    mapped = Path("/proc/self/smaps").read_text().split(constants)[1:]
    assert mapped
    assert all("Rss:                   0 kB" in entry.split("Pss:")[0] for entry in mapped)
    before = _image(pipeline)
    assert torch.equal(before, _image(pipeline))
