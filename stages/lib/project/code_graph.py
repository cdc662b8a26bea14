"""Which of the project's modules a stage runs, read from their imports, and digests over them.

Every stage of dvc.yaml depends on its digest in reports/code.json: a change in shared code reruns the stages that use
it, and only them. Declared one by one, the modules would be some two thousand entries of dvc.lock, which DVC writes
anew after every stage, and a list that a person keeps.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from stages.lib.formats import BACKENDS
from stages.lib.project.files import sha256
from stages.lib.project.params import Params
from stages.lib.project.pipeline_file import PROJECT, is_per_variant, stage_names

BACKEND_REGISTRY = PROJECT / "stages/lib/formats/__init__.py"
HERE = Path(__file__).resolve()
# The stages whose code decides what a variant's size, timing and quality are.
MEASURING = ("download", "noise", "calibrate", "quantize", "generate", "benchmark", "evaluate")


def stage_digests(params: Params) -> dict[str, str | dict[str, str]]:
    """A digest for every stage of dvc.yaml; for those that run a variant's back end, one for each variant."""
    return {
        stage: {variant: digest(stage_modules(stage, params, variant)) for variant in params.variants}
        if is_per_variant(stage) and runs_backends(stage)
        else digest(stage_modules(stage, params))
        for stage in stage_names()
    }


def stage_modules(stage: str, params: Params, variant: str = "") -> frozenset[Path]:
    """The modules that a stage runs for a variant; without one, for the baseline."""
    used = {variant or params.baseline, *([params.baseline] if stage == "benchmark" else [])}
    return modules_of(stage, {params.variants[name].backend for name in used})


def backend_digest(backend: str) -> str:
    """The digest of all that measures a variant of that back end; no Git is needed."""
    return digest(frozenset().union(*(modules_of(stage, {backend}) for stage in MEASURING)))


def modules_of(stage: str, backends: Iterable[str]) -> frozenset[Path]:
    """The modules that a stage runs, and those of the back ends if it runs any."""
    modules = all_imports_of(PROJECT / f"stages/{stage}.py")
    if runs_backends(stage):
        modules = modules.union(*(all_imports_of(_entry_of(BACKENDS[name].module)) for name in backends))
    return modules


def digest(files: Iterable[Path]) -> str:
    """SHA-256, in hexadecimal, over modules by path."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(PROJECT).as_posix()}\0".encode())
        total.update(bytes.fromhex(sha256(file)))
    return total.hexdigest()


@cache
def runs_backends(stage: str) -> bool:
    """Whether it loads a variant by the name of its back end, which no import shows."""
    modules = all_imports_of(PROJECT / f"stages/{stage}.py")
    return any(".load_module()" in path.read_text(encoding="utf-8") for path in modules - {BACKEND_REGISTRY, HERE})


@cache
def all_imports_of(path: Path) -> frozenset[Path]:
    """`path` and what it imports, directly or not, with the packages that these are in."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imports_of(file)
    return frozenset(found)


@cache
def imports_of(path: Path) -> frozenset[Path]:
    """The project's own modules that the module at `path` imports, anywhere in it, or runs by name."""
    names = {_name_of(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and path != BACKEND_REGISTRY:
            names.add(node.value)  # a module run by its name, as in `python -m stages.lib.timing.worker`
    files = set()
    for name in names:
        if re.fullmatch(r"stages(\.\w+)*", name):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                base = PROJECT.joinpath(*parts[:depth])
                files |= {file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}
    return frozenset(files - {path})


def _name_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts)


def _entry_of(module: str) -> Path:
    """The file that importing `module` runs first."""
    path = PROJECT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
