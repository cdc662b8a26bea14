"""Which modules a stage runs: known ones are in it, others are not, and the digest follows the bytes."""

from pathlib import Path

import pytest

from stages.lib.project.code_graph import PROJECT, digest, modules_of, runs_backends, stage_digests, stage_modules
from stages.lib.project.params import load_params
from stages.lib.project.pipeline_file import stage_names
from tests.command import run


def names(stage: str, *backends: str) -> set[str]:
    return {str(path.relative_to(PROJECT)) for path in modules_of(stage, backends)}


def test_direct_and_indirect_imports_and_modules_run_by_name_are_in_it():
    benchmark = names("benchmark", "torch")
    assert {"stages/benchmark.py", "stages/__init__.py", "stages/lib/timing/process.py"} <= benchmark
    assert "stages/lib/timing/worker.py" in benchmark, "run as `python -m`, by another process"
    assert "stages/lib/timing/loaded_size.py" in names("quantize", "torch")


def test_a_back_end_concerns_its_own_variants_alone():
    openvino = {name for name in names("generate", "openvino") if name.startswith("stages/lib/formats/openvino/")}
    assert openvino
    assert not openvino & names("generate", "torch")
    params = load_params(PROJECT / "params.yaml")
    assert stage_modules("benchmark", params, "int8-openvino") > stage_modules("benchmark", params, params.baseline)
    assert not runs_backends("evaluate") and runs_backends("floor")


def test_what_a_stage_does_not_use_is_not_in_it():
    assert not {"stages/lib/quality/artefacts.py", "stages/evaluate.py", "stages/lib/reporting/charts.py"} & names(
        "generate", "torch"
    )
    assert "stages/lib/quality/artefacts.py" in names("inspect")


def test_the_digest_follows_bytes_and_names(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.lib.project.code_graph.PROJECT", tmp_path)
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("x = 1\n", encoding="utf-8")
    first = digest([one])
    one.write_text("x = 2\n", encoding="utf-8")
    assert digest([one]) != first
    one.rename(other)
    other.write_text("x = 1\n", encoding="utf-8")
    assert digest([other]) != first


def test_every_stage_has_a_digest():
    params = load_params(PROJECT / "params.yaml")
    digests = stage_digests(params)
    assert list(digests) == stage_names()
    assert set(digests["generate"]) == set(params.variants)
    assert isinstance(digests["evaluate"], str)


@pytest.mark.parametrize(("stage", "backend"), [("inspect", ""), ("generate", "torch_dynamic"), ("report", "")])
def test_what_python_imports_is_in_it(stage, backend, tmp_path: Path):
    """The modules that Python has after importing the stage, and a back end, are among those that were found."""
    program = f"import sys, stages.{stage}"
    program += f", stages.lib.formats.{backend}" if backend else ""
    program += "\nprint(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'stages'), sep='\\n')"
    (tmp_path / "loaded.py").write_text(program, encoding="utf-8")
    done = run(tmp_path, "loaded")
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert len(loaded) > 5, done.stderr
    assert loaded <= modules_of(stage, [backend] if backend else [])
