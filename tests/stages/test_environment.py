"""environment.json holds what a timing depends on, and nothing that moves by itself."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest

from stages import environment
from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.project.worker_pool import thread_count
from stages.lib.timing.machine import describe
from tests.command import run
from tests.conftest import PROJECT

OUTPUT = "reports/environment.json"


def without_thread_settings() -> dict[str, str]:
    return {name: "" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


@pytest.fixture
def project(tmp_path):
    """A folder with the project's params.yaml and prompts, which the first stage checks."""
    (tmp_path / "data").mkdir()
    for path in ("params.yaml", "data/prompts.csv"):
        shutil.copy(PROJECT / path, tmp_path / path)
    return tmp_path


def test_two_runs_write_the_same_bytes(project):
    """Protects timings from being measured again although nothing changed."""
    contents = []
    for _ in range(2):
        done = run(project, "stages.environment", "--output", OUTPUT)
        assert done.returncode == 0, done.stderr
        contents.append((project / OUTPUT).read_bytes())
    assert contents[0] == contents[1]
    assert done.stdout.startswith("environment: ") and done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("params.yaml", "prompt: landscape", "prompt: landscap", "'benchmark.prompt' has the value 'landscap'"),
        ("data/prompts.csv", "\nanimal,", "\nlandscape,", "id 'landscape' stands there twice"),
    ],
)
def test_a_mistake_that_only_a_late_stage_would_meet_is_told_at_once(project, path, old, new, said):
    """Protects a user from hours of downloading and generation before the message."""
    text = (project / path).read_text(encoding="utf-8")
    assert old in text
    (project / path).write_text(text.replace(old, new), encoding="utf-8")
    done = run(project, "stages.environment", "--output", OUTPUT)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and said in done.stderr
    assert not (project / OUTPUT).exists()


def test_another_number_of_threads_is_another_fingerprint(project):
    """Protects against a comparison of timings with different threads."""
    fingerprints = set()
    for threads in ("1", "2"):
        run(project, "stages.environment", "--output", OUTPUT, OMP_NUM_THREADS=threads)
        content = json.loads((project / OUTPUT).read_text(encoding="utf-8"))
        assert content["threads"] == int(threads)
        fingerprints.add(content["fingerprint"])
    assert len(fingerprints) == 2


def test_two_machines_of_the_same_name_have_two_fingerprints(tmp_path, monkeypatch):
    """Protects from timings of another "AMD EPYC", which was half as fast; the identifier itself is nowhere."""
    found = []
    for identifier in ("3d1219c7", "4e2320d8"):
        (tmp_path / identifier).write_text(f"{identifier}\n", encoding="ascii")
        monkeypatch.setattr("stages.lib.timing.machine.MACHINE_ID", tmp_path / identifier)
        found.append(describe())
    assert found[0]["fingerprint"] != found[1]["fingerprint"] and "3d1219c7" not in json.dumps(found)
    assert {**found[0]["machine"], "id": ""} == {**found[1]["machine"], "id": ""}


def test_the_build_of_a_library_is_part_of_the_fingerprint():
    """Protects from 500 MiB and another speed of a PyTorch with CUDA under the same version."""
    import torch

    assert describe()["software"]["torch"] == str(torch.__version__)


@pytest.mark.parametrize("threads", ["", "1"])
def test_the_threads_are_those_that_torch_uses(tmp_path, threads):
    """Protects the number in the report: it is computed without importing torch."""
    variables = {**without_thread_settings(), "OMP_NUM_THREADS": threads}
    variables = {name: value for name, value in variables.items() if value}
    code = "import torch; print(torch.get_num_threads())"
    clean = {name: value for name, value in os.environ.items() if name not in without_thread_settings()}
    asked = subprocess.run([sys.executable, "-c", code], env={**clean, **variables}, capture_output=True, text=True)
    assert thread_count(describe()["machine"]["physical_cores"], variables) == int(asked.stdout)


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_wrong_number_of_threads_is_one_message(value):
    """Protects the fingerprint from a setting that OpenMP would ignore."""
    with pytest.raises(UserError, match=f"OMP_NUM_THREADS has the value '{value}'"):
        thread_count(2, {"OMP_NUM_THREADS": value})


def test_it_holds_the_fields_that_reports_show_and_no_others():
    """Protects the reader of environment.json from missing fields, and its writer from publishing names or paths."""
    content = describe()
    assert set(content) == {"fingerprint", "machine", "software", "threads"}
    assert {"python", "torch", "cuda", "diffusers", "transformers", "numpy"} <= set(content["software"])
    machine = content["machine"]
    assert set(machine) == {
        "id",
        "cpu",
        "architecture",
        "physical_cores",
        "logical_cores",
        "memory_gib",
        "instruction_sets",
        "gpu",
        "gpu_memory_gib",
        "gpu_compute_capability",
        "operating_system",
    }
    assert machine["logical_cores"] >= machine["physical_cores"] >= 1
    assert type(machine["memory_gib"]) is int and machine["memory_gib"] >= 1
    assert len(content["fingerprint"]) == 12 and int(content["fingerprint"], 16) >= 0


def test_a_missing_optional_package_concerns_only_its_back_end(monkeypatch):
    """Protects every timing from being taken again, and every other variant, when one package comes or goes."""
    before, params = environment.describe(), load_params(PROJECT / "params.yaml")
    real = importlib.metadata.version

    def without_nncf(package: str) -> str:
        if package == "nncf":
            raise importlib.metadata.PackageNotFoundError(package)
        return real(package)

    with_it = environment.available(params, before["machine"], before["software"])["libraries"]
    monkeypatch.setattr("importlib.metadata.version", without_nncf)
    assert environment.describe() == before
    found = environment.available(params, before["machine"], before["software"])
    assert found["packages"]["openvino"]["nncf"] is None
    assert {name for name, libraries in found["libraries"].items() if libraries != with_it[name]} == {"openvino"}
    assert f"nncf {real('nncf')}" in with_it["openvino"] and "nncf" not in found["libraries"]["openvino"]
    assert f"torch {before['software']['torch']}" in found["libraries"]["torch"]
    left_out = {name for name, obstacle in found["obstacles"].items() if obstacle}
    assert left_out == {name for name, variant in params.variants.items() if variant.backend == "openvino"}


def test_make_report_leaves_out_what_is_not_in_the_default_set(monkeypatch):
    """Protects a first run from taking as long as all formats do, and the baseline from being left out."""
    params, machine = load_params(PROJECT / "params.yaml"), environment.describe()
    params.variants["fp32"] = params.variants["fp32"].model_copy(update={"default": False})
    others = {name for name, variant in params.variants.items() if not variant.default} - {"fp32"}
    for chosen, expected in {"default": others, "all": set()}.items():
        monkeypatch.setenv("VARIANT_SET", chosen)
        obstacles = environment.available(params, machine["machine"], machine["software"])["obstacles"]
        assert {name for name, found in obstacles.items() if found == {"reason": "not_in_set"}} == expected
    assert others
    for chosen, word in {"": "default", "all": "all"}.items():
        command = ["make", "-n", "report", *([f"SET={chosen}"] if chosen else [])]
        told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
        assert f"tools.run --set '{word}'" in told


def test_torch_is_imported_only_where_a_gpu_driver_is(tmp_path):
    """Protects the stage that runs on every `dvc repro` from taking seconds."""
    code = (
        "import sys, stages.environment as e, stages.lib.formats.shared.devices as d\n"
        "d.GPU_DRIVERS = (); d.shutil.which = lambda _: None\n"
        "e.describe(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
