"""The tool that times large denoisers on a GPU: what it asks of processes, records and leaves out, without a GPU."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.params import read_yaml, variant_of
from tests.conftest import PROJECT
from tools import measure_denoisers
from tools.measure_denoisers import main

MACHINE = {"machine": {"gpu": "A GPU"}, "software": {}, "threads": 1, "fingerprint": "abc"}
PLAN = """\
models: {small: {label: Small, path: nowhere, inputs: {sample: [2, 4]}}}
formats:
  half: {variant: {label: Half, backend: torch, weights: float16, compile: blocks}}
  slow: {variant: {label: Slow, backend: bitsandbytes, weights: nf4}, settings: {attention: cudnn}}
  broken: {variant: {label: Broken, backend: layerwise, weights: float8}}
  dead: {variant: {label: Dead, backend: torch, weights: bfloat16}}
groups:
  - - {model: small, batches: [1, 2], control: half, formats: [slow, broken, dead]}
    - {model: small, batches: [3], control: half, formats: [slow]}
"""
MS = {"float16": 10.0, "nf4": 20.0}


def answering(pipe, turn, job) -> None:
    """In the place of a process with a GPU: answers as it does."""
    weights = job["variant"]["weights"]
    if weights == "bfloat16":
        return
    if weights == "float8":
        pipe.send({"failure": "RuntimeError: no room"})
        return
    ready = {"ready": {"size_mib": 1.0} | ({"compile_s": 3.0} if "compile" in job["variant"] else {})}
    pipe.send(ready)
    batch = job["batch"]
    while True:
        what, *asked = pipe.recv()
        if what == "batch":
            (batch,) = asked
            pipe.send(ready)
        elif what == "profile":
            pipe.send({"": 4.0, "gemm": 3.0})
        else:
            pipe.send([(1 if asked[0] else 3) * batch * MS[weights]] * asked[1])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the tool in `tmp_path`; the rows by format."""
    monkeypatch.setattr(measure_denoisers, "serve", answering)
    monkeypatch.setattr(measure_denoisers, "describe", lambda: MACHINE)
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")

    def run(*more: str) -> dict[tuple[str, int], dict]:
        told = ["tool", "--plan", str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "machines"), *more]
        monkeypatch.setattr("sys.argv", told)
        main()
        path = tmp_path / "machines/abc/denoisers.json"
        return {(row["format"], row["batch"]): row for row in read_json(path)["rows"]} if path.is_file() else {}

    return run


def test_formats_are_timed_beside_the_control_and_failures_are_rows(run, capsys):
    """Protects the ratio, the reason of a slow row, and the others from one that fails or dies."""
    rows = run("--commit", "1234")
    half, slow = rows["half", 2], rows["slow", 2]
    assert (half["latency_ms"], half["speedup"], half["eager_ms"]) == (20, 1, 60)
    assert (slow["eager_ms"], slow["latency_ms"], slow["control_ms"], slow["speedup"]) == (40, 40, 20, 0.5)
    assert slow["kernels_ms"] == {"": 4, "gemm": 3} and "kernels_ms" not in half
    assert (slow["commit"], slow["settings"]) == ("1234", {"attention": "cudnn"})
    assert rows["slow", 1]["latency_ms"] == 20
    assert rows["broken", 1]["failure"] == rows["broken", 2]["failure"] == "RuntimeError: no room"
    assert rows["dead", 1]["failure"] == "its process ended"
    capsys.readouterr()
    assert run("--commit", "5678")["slow", 1]["commit"] == "1234"
    assert rows["slow", 3]["control_ms"] == 30
    assert "10 rows" in capsys.readouterr().out


def test_what_time_is_wanting_for_is_left(run, capsys):
    """Protects a lease from a case that would end too late."""
    assert run("--time-limit", "0") == {}
    assert "for want of time: Small half, batch 1, Small slow, batch 1" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(run, monkeypatch):
    """Nothing is measured on a CPU."""
    monkeypatch.setattr(measure_denoisers, "describe", lambda: {**MACHINE, "machine": {"gpu": None}})
    with pytest.raises(UserError, match="no CUDA device"):
        run()


def test_the_plan_is_sound():
    """Every format can be declared, every case's names exist, every architecture is there with its inputs' names."""
    import inspect

    from stages.lib.models.kinds import kind_of

    plan = read_yaml(PROJECT / "data/machines/denoisers.yaml")
    for entry in plan["formats"].values():
        variant_of(name="row", device="cuda", **entry["variant"])
    for case in (case for group in plan["groups"] for case in group):
        assert {case["control"], *case["formats"]} <= plan["formats"].keys() and case["model"] in plan["models"]
    for model in plan["models"].values():
        kind = kind_of(Path(PROJECT, model["path"]))
        (component,) = kind.of_role("denoiser")
        known = inspect.signature(kind.class_of(component).forward).parameters
        assert {**model["inputs"], **model.get("fixed", {})}.keys() <= known.keys()
    assert YAML(typ="safe").load(PROJECT / "data/machines/denoisers.yaml") == plan
