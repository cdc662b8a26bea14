"""Which of the project's modules a module runs, read from its source: no import shows what a function imports.

The options of back ends, which stages.lib.project.params finds by their folders, are not among them: what passes their
checks is a parameter of the stage.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from stages.lib.formats import BACKENDS
from tests.conftest import PROJECT

REGISTRY = PROJECT / "stages/lib/formats/__init__.py"  # names the back ends; a variant's is loaded by that name


@cache
def imports_of(path: Path) -> frozenset[Path]:
    """The modules that the one at `path` imports, anywhere in it, or runs by name, with the packages they are in."""
    names = {".".join(path.relative_to(PROJECT).with_suffix("").parts)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and path != REGISTRY:
            names.add(node.value)  # a module run by its name, as in `python -m stages.lib.timing.worker`
    found = {file for name in names for file in _files_of(name)}
    return frozenset(found - {path})


def _files_of(name: str) -> Iterable[Path]:
    """The module of that name and its packages; none if it is no module of the project."""
    parts = name.split(".") if re.fullmatch(r"stages(\.\w+)*", name) else []
    for depth in range(1, len(parts) + 1):
        base = PROJECT.joinpath(*parts[:depth])
        yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())


@cache
def reached_from(path: Path) -> frozenset[Path]:
    """`path` and what it imports, directly or not."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imports_of(file)
    return frozenset(found)


def loads_back_ends(path: Path) -> bool:
    """Whether the module loads a variant by the name of its back end, which no import shows."""
    return any(".load_module()" in file.read_text(encoding="utf-8") for file in reached_from(path) - {REGISTRY})


def back_end(name: str) -> frozenset[Path]:
    """What the back end of that name runs."""
    return reached_from(next(file for file in reversed(list(_files_of(BACKENDS[name].module)))))
