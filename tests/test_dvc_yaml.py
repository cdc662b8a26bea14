"""dvc.yaml is code: its stages, modules, outputs and imports must agree."""

import ast
import re
import shlex
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.lib.backends import BACKENDS
from stages.lib.params import load_params
from tests.conftest import PROJECT

BACKEND_REGISTRY = PROJECT / "stages/lib/backends/__init__.py"


@pytest.fixture(scope="module")
def stages() -> list:
    """Every resolved stage of the root dvc.yaml."""
    with Repo(str(PROJECT)) as repo:
        return [stage for stage in repo.index.stages if Path(stage.path) == PROJECT / "dvc.yaml"]


def module_of(stage) -> Path:
    """The file that a stage's command runs with `python -m`."""
    words = shlex.split(stage.cmd)
    assert words[:2] == ["python", "-m"], f"{stage.addressing}: runs `{stage.cmd}`"
    return PROJECT / (words[2].replace(".", "/") + ".py")


def code_dependencies(stage) -> set[Path]:
    """Its dependencies that are modules; a package stands for every module in it."""
    paths = [Path(dep.fs_path) for dep in stage.deps]
    return {file for path in paths for file in ([path] if path.suffix == ".py" else path.rglob("*.py"))}


def entry_of(module: str) -> Path:
    """The file that importing `module` runs first."""
    path = PROJECT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports_of(path: Path) -> frozenset[Path]:
    """The project's own modules that the file at `path` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and path != BACKEND_REGISTRY:
            names.add(node.value)  # a module run by its name, as in `python -m stages.lib.timing_worker`
    files = set()
    for name in names:
        if re.fullmatch(r"stages(\.\w+)+", name or ""):
            base = PROJECT / name.replace(".", "/")
            files |= {file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}
    return frozenset(files - {PROJECT / "stages/__init__.py", PROJECT / "stages/lib/__init__.py"})


def all_imports_of(path: Path) -> set[Path]:
    """`path` and what it imports, directly or not."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imports_of(file)
    return found


def test_the_stage_and_its_module_have_the_same_name(stages):
    for stage in stages:
        module = module_of(stage)
        assert module == PROJECT / "stages" / f"{stage.name.partition('@')[0]}.py"
        assert module.is_file()


def test_every_module_in_stages_is_a_stage(stages):
    # verify and trace are run by hand: one runs stages again and compares, the other reads what they left
    modules = {path for path in (PROJECT / "stages").glob("*.py")} - {
        PROJECT / "stages" / name for name in ("__init__.py", "trace.py", "verify.py")
    }
    assert modules == {module_of(stage) for stage in stages}


def test_every_output_is_on_the_command_line(stages):
    for stage in stages:
        words = shlex.split(stage.cmd)
        for out in stage.outs:
            assert str(Path(out.fs_path).relative_to(PROJECT)) in words, f"{stage.addressing}: {out} is not on it"


def test_every_import_is_a_declared_dependency_and_nothing_else_is(stages):
    """A change in shared code reruns the stages that use it, and only them; a stage's variants have one list."""
    params = load_params(PROJECT / "params.yaml")
    used_by_any: dict[str, set[Path]] = defaultdict(set)
    for stage in stages:
        name, _, variant = stage.name.partition("@")
        needed = all_imports_of(module_of(stage))
        if any(".load_module()" in path.read_text(encoding="utf-8") for path in needed):
            baselines = {"benchmark": [variant, params.baseline]} | dict.fromkeys(
                ("controls", "floor"), [params.baseline]
            )
            used = baselines.get(name, [variant])
            modules = {BACKENDS[params.variants[key].backend].module for key in used}
            for module in modules:
                needed |= all_imports_of(entry_of(module))
        missing = {str(path.relative_to(PROJECT)) for path in needed - code_dependencies(stage)}
        assert not missing, f"{stage.addressing}: add to its deps in dvc.yaml: {sorted(missing)}"
        used_by_any[name] |= needed
    for stage in stages:
        unneeded = code_dependencies(stage) - used_by_any[stage.name.partition("@")[0]]
        unused = {str(path.relative_to(PROJECT)) for path in unneeded}
        assert not unused, f"{stage.addressing}: remove from its deps in dvc.yaml: {sorted(unused)}"


def test_stage_modules_do_not_import_each_other(stages):
    """Verbs use nouns; what two stages share belongs in stages/lib."""
    modules = {module_of(stage) for stage in stages}
    for path in [*modules, *(PROJECT / "stages/lib").rglob("*.py")]:
        assert not (imports_of(path) & modules), f"{path} imports a stage"


def test_every_stage_says_what_it_does(stages):
    for stage in stages:
        assert stage.desc, f"{stage.addressing} has no desc"


def test_the_param_slice_of_a_variant_is_its_own(stages):
    """Editing one variant must not rerun another one."""
    baseline = load_params(PROJECT / "params.yaml").baseline
    for stage in stages:
        name, _, variant = stage.name.partition("@")
        keys = {key for dep in stage.deps for key in getattr(dep, "params", [])}
        if variant:
            others = {key for key in keys if key.startswith("variants")} - {f"variants.{variant}"}
            allowed = {f"variants.{baseline}"} if name == "benchmark" else set()
            assert others <= allowed, f"{stage.addressing} depends on {others}"
