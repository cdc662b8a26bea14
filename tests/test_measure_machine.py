"""Measuring without DVC: what is run, what is kept, what is refused, and when it stops."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.environment import describe
from stages.lib.project.errors import UserError
from stages.lib.project.pipeline_file import stage_command
from stages.lib.results.machines import load_machines
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.tiny_project import write_settings
from tools import measure_machine, measuring_round
from tools.machine_folder import MachineFolder
from tools.machine_plan import read_plan
from tools.project import Project
from tools.timing_session import Session

# What a machine that only measures may lack.
BLOCKED = ("dvc", "weasyprint", "matplotlib", "openvino", "nncf", "jinja2", "babel", "pypdf")
BLOCKER = """\
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = staticmethod(
    lambda name, path=None, target=None: None if name.split(".")[0] in {blocked!r} else found(name, path, target)
)
"""


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the tiny model as the working folder, with a plan that adds a variant."""
    write_settings(tmp_path)
    shutil.copytree(tiny_model, tmp_path / "data/tiny")
    (tmp_path / "data/calibration.csv").write_text("id,prompt,kind,complexity,seed,set\n", encoding="utf-8")
    plan = "measured_models: [tiny]\nvariants:\n  half: {label: Half, backend: torch, weights: bfloat16}\n"
    (tmp_path / "plan.yaml").write_text(plan, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(project: Path, *arguments: str, blocked: tuple[str, ...] = BLOCKED) -> subprocess.CompletedProcess:
    """Run the tool in a Python that lacks the modules `blocked`."""
    (project / "blocker").mkdir(exist_ok=True)
    (project / "blocker/sitecustomize.py").write_text(BLOCKER.format(blocked=blocked), encoding="utf-8")
    paths = os.pathsep.join([str(project / "blocker"), str(PROJECT)])
    command = [sys.executable, "-m", "tools.measure_machine", "--plan", "plan.yaml", "--output", "machines", *arguments]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=2 * HANGING_S)


def test_a_machine_without_dvc_measures_and_goes_on_where_it_stopped(project: Path) -> None:
    """Protects the whole way: every figure kept, nothing measured twice, nothing begun after the time limit."""
    stopped = measure(project, "--time-limit", "0")
    assert stopped.returncode == 0 and "not begun for want of time: tiny/fp32, tiny/half" in stopped.stdout
    done = measure(project)
    assert done.returncode == 0, done.stderr
    (machine,) = load_machines(project / "machines")
    (model,) = machine.models
    assert [item.variant.label for item in model.variants] == ["FP32", "Half"] and model.missing == {}
    half = model.variants[1]
    assert 1.5 < half.compression < 2.1 and half.timing["latency_s"] > 0 and half.quality["images"] == 3
    assert half.timing["fingerprint"] == machine.fingerprint
    assert [batch["batch_size"] for batch in half.batches] == [2]
    before = {path: path.stat().st_mtime_ns for path in (project / "machines").glob("*/tiny/*/*.json")}
    again = measure(project, "--jobs", "2")
    assert again.returncode == 0 and "benchmark" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (project / "machines").glob("*/tiny/*/*.json")} == before


def test_a_missing_package_is_named(project: Path) -> None:
    """Protects a user on a bare machine from a traceback an hour later."""
    done = measure(project, blocked=("skimage", "ruamel"))
    assert done.returncode == 1
    assert "lacks scikit-image, ruamel.yaml: run `pip install scikit-image ruamel.yaml`" in done.stderr


def test_dvc_is_not_needed_to_describe_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the fingerprint of a machine without DVC; any other package must be there."""
    monkeypatch.setattr("stages.environment.PACKAGES", ("torch", "not-there"))
    with pytest.raises(UserError, match="package 'not-there' is not installed"):
        describe()
    monkeypatch.setattr("stages.environment.OPTIONAL_PACKAGES", ("not-there",))
    assert describe()["software"]["not-there"] is None


def test_another_machines_folder_is_not_touched(tmp_path: Path) -> None:
    """Protects results that cannot be measured again here."""
    environment = {"fingerprint": "ffffffffffff", "machine": {"cpu": "this one"}}
    other = tmp_path / "ffffffffffff/environment.json"
    other.parent.mkdir()
    other.write_text(json.dumps(environment | {"machine": {"cpu": "another"}}), encoding="utf-8")
    before = other.read_bytes()
    with pytest.raises(UserError, match="ffffffffffff is not of this machine"):
        MachineFolder.open(tmp_path, environment)
    assert other.read_bytes() == before and len(list(other.parent.iterdir())) == 1


def test_results_of_other_settings_are_measured_again(project: Path) -> None:
    """Protects from keeping figures of another code, variant or number of steps."""
    (plan,) = read_plan(Path("plan.yaml"), None, None)
    folder = MachineFolder.open(project / "machines", {"fingerprint": "ffffffffffff"})
    folder.ask(plan.model, plan.variants)
    for name in ("size", "timing", "quality"):
        path = project / "scratch/reports" / name / "half.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}", encoding="utf-8")
    assert not folder.has(plan, "half")
    folder.keep(plan, "half", project / "scratch")
    assert folder.has(plan, "half")
    params = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(params.replace("steps: 3", "steps: 4"), encoding="utf-8")
    assert not folder.has(read_plan(Path("plan.yaml"), None, None)[0], "half")


def test_a_failed_variant_is_noted_and_the_others_go_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a night's measurement from its first failure, and the report from silence about it."""
    kept = []

    def run(self: Project, name: str, variant: str = "") -> None:
        if variant == "half":
            raise UserError(f"stage {name}: this GPU cannot do it")

    report = {"latency_s": 1, "speedup": 1, "run_peak_mib": 1, "first_call_s": 1, "batches": [], "calls": []}
    monkeypatch.setattr(Project, "stage", run)
    monkeypatch.setattr(Session, "start", lambda self: None)
    monkeypatch.setattr(measuring_round, "time_alone", lambda variant, baseline: report)
    monkeypatch.setattr(measuring_round, "measure_batches", lambda items, folder, clock: None)
    monkeypatch.setattr(MachineFolder, "keep", lambda self, plan, name, folder: kept.append(name))
    monkeypatch.setattr(sys, "argv", ["m", "--plan", "plan.yaml", "--output", "machines", "--variants", "half,bf16"])
    with pytest.raises(UserError, match="not measured: tiny/half: stage quantize: this GPU cannot do it"):
        measure_machine.main()
    assert kept == ["fp32", "bf16"]
    (asked,) = (project / "machines").glob("*/asked.json")
    assert json.loads(asked.read_text(encoding="utf-8")) == {
        "models": {"tiny": ["fp32", "half", "bf16"]},
        "failed": {"tiny": {"half": "stage quantize: this GPU cannot do it"}},
    }


def test_the_shipped_plan_is_valid_and_its_commands_are_those_of_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the first command on a GPU machine, where nothing can be mended."""
    monkeypatch.chdir(PROJECT)
    full, embedded = read_plan(Path("data/machines/gpu.yaml"), None, None)
    for plan in (full, embedded):
        assert plan.variants[0] == "fp32" and plan.params.device == "cuda"
    assert set(embedded.variants) < set(full.variants) and "fp16" in embedded.variants
    assert stage_command("evaluate", "sd15", "tf32")[:5] == ["python", "-m", "stages.evaluate", "--variant", "tf32"]
    with pytest.raises(UserError, match="there is no variant 'fp61': declared are fp32"):
        read_plan(Path("data/machines/gpu.yaml"), None, ["fp61"])
