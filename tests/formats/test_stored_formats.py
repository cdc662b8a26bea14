"""Back ends that keep a library's own weights in safetensors: smaller, similar, only where asked, every byte known."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.loaded_size import _read_every_page
from stages.lib.models import components
from stages.lib.models.inventory import disk_bytes, memory_bytes
from stages.lib.project.files import sha256
from stages.lib.project.params import Variant, variant_of
from stages.quantize import explanations
from tests.conftest import PROJECT
from tests.reference import COMPONENTS, generated, missing_packages, reference_pipeline, skip_without_packages

# The keys of each, and the largest difference of its image from the base model's.
FORMATS = {
    "fp16": ({"backend": "torch", "weights": "float16"}, 0.05),
    "int8-simulated": ({"backend": "torch", "weights": "int8", "simulated": True}, 0.1),
    "int8-cpu": (
        {"backend": "torch_dynamic", "weights": "int8", "activations": "int8", "granularity": "tensor"}
        | {"device": "cpu", "compute": "float32"},
        0.2,
    ),
    "nf4": ({"backend": "bitsandbytes", "weights": "nf4"}, 0.4),
    "fp4": ({"backend": "bitsandbytes", "weights": "fp4", "compute": "float32"}, 0.4),
    "llm-int8": ({"backend": "bitsandbytes", "weights": "int8"}, 0.1),
    "q8": ({"backend": "gguf", "weights": "q8_0", "compute": "float32"}, 0.1),
    "q4k": ({"backend": "gguf", "weights": "q4_k", "compute": "float32"}, 0.4),
    "fp8": ({"backend": "layerwise", "weights": "float8"}, 0.4),
    "sdnq-int8": ({"backend": "sdnq", "least_weights": 0, "weights": "int8"}, 0.1),
    "sdnq-int8-dynamic": (
        {"backend": "sdnq", "least_weights": 0, "weights": "int8", "activations": "int8", "compute": "bfloat16"},
        0.2,
    ),
    "sdnq-uint4": ({"backend": "sdnq", "least_weights": 0, "weights": "uint4", "compute": "float32"}, 0.4),
}
LOAD = """\
import json, sys
from pathlib import Path
from stages.lib.formats import BACKENDS
from stages.lib.project.params import variant_of
from tests.reference import generated

for folder, keys in json.loads(sys.stdin.read()).items():
    chosen = variant_of(**keys)
    pipeline = BACKENDS[chosen.backend].load_module().load(Path(folder), chosen, "cpu")
    print("sum", generated(pipeline).double().sum().item())
"""


def keys_of(name: str, **more) -> dict:
    return {"name": "v", "label": "V", **FORMATS[name][0], **more}


def made(base: Path, variant: Variant, folder: Path) -> Path:
    folder.mkdir()
    BACKENDS[variant.backend].load_module().quantize(base, variant, folder)
    return folder


def loaded(folder: Path, variant: Variant):
    return BACKENDS[variant.backend].load_module().load(folder, variant, "cpu")


@pytest.fixture(scope="module")
def every(tiny_model, tmp_path_factory) -> dict[str, tuple[Path, float]]:
    """The tiny model in each format whose packages are here: its folder, and what another process generates from it."""
    known = {name: variant_of(**keys_of(name)) for name in FORMATS}
    here = {name: variant for name, variant in known.items() if not missing_packages(variant)}
    folders = {name: made(tiny_model, here[name], tmp_path_factory.mktemp(name) / "v") for name in here}
    told = json.dumps({str(folder): keys_of(name) for name, folder in folders.items()})
    said = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=PROJECT, input=told, capture_output=True, text=True, check=True
    )
    sums = [float(line.split()[1]) for line in said.stdout.splitlines() if line.startswith("sum ")]
    return {name: (folder, found) for (name, folder), found in zip(folders.items(), sums, strict=True)}


@pytest.fixture(scope="module", params=FORMATS)
def stored(request, every) -> tuple[str, Variant, Path]:
    """The tiny model in one format: its name, its variant, its folder."""
    variant = variant_of(**keys_of(request.param))
    skip_without_packages(variant)
    return request.param, variant, every[request.param][0]


def test_the_image_is_similar_and_another_process_generates_the_same(tiny_model, stored, every):
    """Protects from a format that does nothing, that ruins images, or that a file does not hold whole."""
    name, variant, folder = stored
    image, original = generated(loaded(folder, variant)), generated(reference_pipeline(tiny_model))
    assert 0 < (image - original).abs().max() < FORMATS[name][1]
    assert every[name][1] == image.double().sum().item()


def test_files_are_smaller_plain_and_fully_accounted_for(tiny_model, stored):
    """No pickle; the inventory is every byte but the header; memory is what is stored; no parameter is lost."""
    name, variant, folder = stored
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}
    rows = BACKENDS[variant.backend].load_module().inventory(folder, variant)
    disk, pipeline = disk_bytes(folder), loaded(folder, variant)
    assert sum(disk.values()) < 0.9 * sum(disk_bytes(tiny_model).values())
    assert sum(row.parameters for row in rows) == 471871
    dtype = "q5_0" if name == "q4k" else variant.stored_dtype  # no row of the tiny model is a multiple of 256
    assert any(row.dtype == dtype and row.operator == "Linear" for row in rows)
    found = explanations(folder, on_model(variant, folder), rows, (), False)
    for component in COMPONENTS:
        (path,) = components.weight_files(folder, component)
        own = sum(row.stored_bytes for row in rows if row.component == component)
        assert own + 8 + int.from_bytes(path.read_bytes()[:8], "little") == disk[component] == found[component].total
        network, names = getattr(pipeline, component), load_file(path)
        not_stored = sum(
            buffer.nbytes
            for path, buffer in network.named_buffers()
            if path not in names and "parametrizations" not in path and _stored_name(path) not in names
        )
        # norms in FP32 and the zero points of packed weights are not on disk
        room = own // 50 if variant.backend in ("torch", "torch_dynamic") else 0
        assert 0 <= memory_bytes(network) - own - not_stored <= room
        _read_every_page(network)  # as before its growth is measured: every dtype can be read


def _stored_name(path: str) -> str:
    """What the back ends call `scale` and `zero_point` of a layer of SDNQ's."""
    layer, _, part = path.rpartition(".")
    return f"{layer}.weight_{part}"


def test_an_unchosen_component_stays_as_it_is(tiny_model, stored, tmp_path):
    """`components: [unet]` leaves the bytes of the others, and the mixture generates."""
    variant = variant_of(**keys_of(stored[0], components=["unet"]))
    folder = made(tiny_model, variant, tmp_path / "v")
    for component in ("vae", "text_encoder", "safety_checker"):
        (base,), (ours,) = (components.weight_files(part, component) for part in (tiny_model, folder))
        assert all(torch.equal(load_file(ours)[name], tensor) for name, tensor in load_file(base).items())
    assert generated(loaded(folder, variant)).isfinite().all()


def test_two_runs_write_the_same_bytes(tiny_model, stored, tmp_path):
    """DVC sees no change."""
    _, variant, folder = stored
    again = made(tiny_model, variant, tmp_path / "again")
    digests = [{path.relative_to(top): sha256(path) for path in top.rglob("*.*")} for top in (folder, again)]
    assert digests[0] == digests[1]
