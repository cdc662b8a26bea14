"""Measuring without DVC: what is run, what is kept, what is refused, and when it stops."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.params import read_yaml
from stages.lib.results.machines import load_machines
from stages.lib.timing.machine import describe
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.tiny_project import write_settings
from tests.warm_python import warm_python
from tools import measure_machine
from tools.pipeline_file import PIPELINE, leading_to, make_project, read_stages

# What a machine that only measures may lack.
BLOCKED = ("dvc", "weasyprint", "matplotlib", "openvino", "nncf", "jinja2", "pypdf")
BLOCKER = """\
import sys
from importlib.machinery import PathFinder
for name in [name for name in sys.modules if name.split(".")[0] in {blocked!r}]:
    del sys.modules[name]
found = PathFinder.find_spec
PathFinder.find_spec = staticmethod(
    lambda name, path=None, target=None: None if name.split(".")[0] in {blocked!r} else found(name, path, target)
)
"""
PLAN = """\
model: tiny
variants:
  fp32: {label: FP32, backend: torch, weights: float32}
  half: {label: Half, backend: torch, weights: bfloat16}
  large: {label: Too large, backend: torch, weights: float16}
  graph: {label: Graph, backend: openvino, weights: float32, compute: float32}
"""


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the tiny model as the working folder, with a plan that adds variants."""
    write_settings(tmp_path)
    shutil.copytree(tiny_model, tmp_path / "data/tiny")
    rows = ["id,prompt,kind,complexity,seed,set", "lake,A lake,a,b,1,c", "bird,A bird,a,b,2,c", ""]
    (tmp_path / "data/calibration.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "reports/machines").mkdir()
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    for name in ("stages", "tools", "dvc.yaml"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the tool in a Python that lacks the modules of BLOCKED."""
    (project / "blocker").mkdir(exist_ok=True)
    (project / "blocker/sitecustomize.py").write_text(BLOCKER.format(blocked=BLOCKED), encoding="utf-8")
    command = [warm_python(), "-m", "tools.measure_machine", "--plan", "plan.yaml", "--output", "machines", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(project / "blocker"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=2 * HANGING_S)


def test_a_machine_without_dvc_measures_and_goes_on_where_it_stopped(project: Path) -> None:
    """Protects the whole way: every figure kept, nothing measured twice, nothing begun after the time limit."""
    stopped = measure(project, "--variants", "half", "--time-limit", "0")
    assert stopped.returncode == 0 and "not begun for want of time: fp32, half" in stopped.stdout, stopped.stderr
    done = measure(project, "--variants", "half")
    assert done.returncode == 0, done.stderr
    (machine,) = load_machines(project / "machines")
    (model,) = machine.models
    assert [item.variant.label for item in model.variants] == ["FP32", "Half"] and model.missing == {}
    half = model.variants[1]
    assert 1.5 < half.compression < 2.1 and half.timing["latency_s"] > 0 and half.quality["images"] == 3
    assert half.timing["fingerprint"] == machine.fingerprint
    assert [batch["batch_size"] for batch in half.batches] == [2]
    before = {path: path.stat().st_mtime_ns for path in (project / "machines").glob("*/tiny/*/*.json")}
    again = measure(project, "--variants", "half")
    assert again.returncode == 0 and "benchmark" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (project / "machines").glob("*/tiny/*/*.json")} == before


def test_dvc_is_not_needed_to_describe_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the fingerprint of a machine without DVC; any other package must be there."""
    monkeypatch.setattr("stages.lib.timing.machine.PACKAGES", ("torch", "not-there"))
    with pytest.raises(UserError, match="package 'not-there' is not installed"):
        describe()
    monkeypatch.setattr("stages.lib.timing.machine.OPTIONAL_PACKAGES", ("not-there",))
    assert describe()["software"]["not-there"] is None


def test_results_of_other_settings_are_measured_again(project: Path) -> None:
    """Protects from keeping figures of another variant or number of steps; of another commit they say so."""

    def origin() -> dict:
        document = measure_machine.planned(Path("plan.yaml"), None, None)
        (project / "scratch").mkdir()
        params = make_project(project / "scratch", document)
        shutil.rmtree(project / "scratch")
        return {"commit": "one", **measure_machine.origin_of(params, document, "half")}

    for name in ("size", "timing", "quality"):
        path = project / "reports/tiny" / name / "half.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}", encoding="utf-8")
    folder, first = project / "machines/f/tiny/half", origin()
    assert not measure_machine.is_there(folder, first)
    measure_machine.keep(folder, first, project / "reports/tiny")
    assert measure_machine.is_there(folder, origin()) and measure_machine.is_there(folder, first | {"commit": "other"})
    params = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(params.replace("steps: 3", "steps: 4"), encoding="utf-8")
    assert not measure_machine.is_there(folder, origin())


def test_a_failed_variant_is_noted_and_the_others_go_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a night's measurement from its first failure, and the report from silence about it."""
    kept = []

    def run(stages: list, folder: Path) -> None:
        if any(stage.name == "quantize@large" for stage in stages):
            raise UserError("stage quantize@large: this GPU cannot do it")
        if not stages[-1].name.startswith("environment"):
            return
        obstacles = {"fp32": None, "half": None, "large": None, "graph": {"reason": "not_installed", "packages": ["x"]}}
        described = {"fingerprint": "ffff", "machine": {}, "software": {}, "threads": 1, "obstacles": obstacles}
        (folder / "reports/environment.json").write_text(json.dumps(described), encoding="utf-8")

    monkeypatch.setattr(measure_machine, "run", run)
    monkeypatch.setattr(measure_machine, "keep", lambda folder, origin, reports: kept.append(folder.name))
    monkeypatch.setattr(sys, "argv", ["m", "--plan", "plan.yaml", "--output", "machines"])
    with pytest.raises(UserError, match=r"not measured: large \(failed, message stage quantize@large: this GPU cannot"):
        measure_machine.main()
    assert kept == ["fp32", "half"]
    failed = {
        "large": {"reason": "failed", "message": "stage quantize@large: this GPU cannot do it"},
        "graph": {"reason": "not_installed", "packages": ["x"]},
    }
    assert json.loads((project / "machines/ffff/asked.json").read_text(encoding="utf-8")) == {
        "models": {"tiny": ["fp32", "half", "large", "graph"]},
        "failed": {"tiny": failed},
    }


@pytest.mark.parametrize("plan", ["gpu", "cpu"])
def test_the_shipped_plans_are_valid(plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the first command on a rented machine, where nothing can be mended."""
    monkeypatch.chdir(PROJECT)
    path = Path(f"data/machines/{plan}.yaml")
    params = make_project(tmp_path, measure_machine.planned(path, None, None))
    assert params.baseline == "fp32" == next(iter(params.variants)) and params.chosen_model.source == "architecture"
    with pytest.raises(UserError, match="there is no variant 'fp61': declared are fp32"):
        measure_machine.planned(path, None, "fp61")


def test_stages_are_those_of_dvc(stages: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the tool from another reading of dvc.yaml than DVC's own."""
    monkeypatch.chdir(PROJECT)
    document = read_yaml(Path("params.yaml"))
    found = {stage.name: stage for stage in read_stages(PIPELINE, document)}
    recommended = f"reports/{document['model']}/spare.yaml"  # nothing is measured for it where no format asks for it
    assert set(found) == {stage.name for stage in stages}
    for stage in stages:
        own = found[stage.name]
        assert " ".join(own.command) == stage.cmd
        assert set(own.makes) == {out.def_path for out in stage.outs}
        asks = document["variants"].get(stage.name.partition("@")[2], {}).get("spare") == "auto"
        left_out = {recommended} - set(own.needs)
        assert {dep.def_path for dep in stage.deps} <= {*own.needs, *left_out, "params.yaml"}
        assert not (asks and stage.name.startswith("quantize") and left_out)
    model = document["model"]
    order = [stage.name for stage in leading_to([f"reports/{model}/quality/fp16.json"], found.values())]
    assert order[-1].startswith("evaluate") and order.index("quantize@fp16") < order.index("generate@fp16")
    assert "benchmark@fp16" not in order and order.index("environment") < order.index("quantize@fp32")
