"""The rooms of stages/lib: imports run one way, none is large, and dvc.yaml names just those that a stage uses."""

import ast
import re
from pathlib import Path

import pytest

from stages.lib import ROOMS
from stages.lib.formats import BACKENDS
from stages.lib.generation.parts import CODE, STAGES
from stages.lib.project.params import load_params
from tests.conftest import PROJECT
from tests.imports import back_end, imports_of, loads_back_ends, reached_from

LIB = PROJECT / "stages/lib"
MODULES = sorted(LIB.rglob("*.py"))
MOST_MODULES = 25
MOST_LINES = 250
ALWAYS = {"environment", "source", "compare"}  # they run every time
# Nothing in them changes a result: one sets how idle threads wait, the other has the order of the rooms.
FREE = {PROJECT / "stages/__init__.py", LIB / "__init__.py"}


def room_of(path: Path) -> str:
    return path.relative_to(LIB).parts[0]


def test_the_rooms_are_those_of_the_order():
    assert sorted(ROOMS) == sorted(path.name for path in LIB.iterdir() if (path / "__init__.py").is_file()), "ROOMS"


@pytest.mark.parametrize("path", [path for path in MODULES if path not in FREE], ids=lambda path: str(path)[-40:])
def test_imports_between_rooms_run_one_way(path):
    place = ROOMS.index(room_of(path))
    for imported in imports_of(path) - FREE:
        assert LIB in imported.parents, f"{path} imports {imported}, a stage"
        assert ROOMS.index(room_of(imported)) <= place, f"{path} imports {imported}, which is of a later room"


def test_back_ends_do_not_import_each_other():
    for name in BACKENDS:
        for path in (LIB / "formats" / name).rglob("*.py"):
            own = [file.relative_to(LIB / "formats") for file in imports_of(path) if LIB / "formats" in file.parents]
            folders = {file.parts[0] for file in own}
            assert folders <= {"__init__.py", "shared", name}, path


def test_no_room_and_no_package_in_one_is_large():
    for package in {path.parent for path in MODULES}:
        assert len(list(package.glob("*.py"))) <= MOST_MODULES, package


@pytest.mark.parametrize("path", sorted((PROJECT / "stages").rglob("*.py")) + sorted((PROJECT / "tools").glob("*.py")))
def test_no_module_is_long(path):
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES, (
        "divide it; tables of data belong in YAML or JSON"
    )


def needed(stage) -> set[Path]:
    """The modules that a stage of dvc.yaml runs: those it imports, and the back ends of the variants it loads."""
    module = PROJECT / f"stages/{stage.name.partition('@')[0]}.py"
    found = set(reached_from(module))
    if loads_back_ends(module):
        variants = load_params(PROJECT / "params.yaml").variants
        paths = {Path(item.def_path).name for item in [*stage.deps, *stage.outs] if "/models/" in item.def_path}
        for name in paths & set(variants):
            found |= back_end(variants[name].backend)
    return found


def test_every_stage_depends_on_the_rooms_that_it_uses_and_on_no_other(stages):
    """A change in a room runs the stages again that use it, and only those."""
    for stage in stages:
        declared = {PROJECT / dep.def_path for dep in stage.deps if dep.def_path.startswith("stages/")}
        if stage.name in ALWAYS:
            assert not declared
            continue
        files = needed(stage) - FREE
        missing = {file for file in files if not declared & {file, *file.parents}}
        assert not missing, f"{stage.addressing} depends on no folder of {sorted(map(str, missing))}"
        idle = {path for path in declared if not any(path in (file, *file.parents) for file in files)}
        assert not idle, f"{stage.addressing} does not use {sorted(map(str, idle))}"


def test_a_change_of_what_generates_an_image_and_of_nothing_else_discards_the_kept_ones():
    """Protects an interrupted run from images of two commits, and from an edited template that would take them all."""
    declared = {STAGES / path for path in CODE}
    files = reached_from(STAGES / "generate.py") | set((LIB / "formats").rglob("*.py"))
    assert not {file for file in files - FREE if not declared & {file, *file.parents}}
    assert not {path for path in declared if not any(path in (file, *file.parents) for file in files)}


# Where names of a family's components may stand: tables of names, and the study, which is of one model.
NAMED = ("stages/lib/models", "stages/lib/study", "stages/lib/reporting/words/names.py")
NAMES = re.compile(r"unet|transformer|vae|text_encoder(_[23])?|(UNet|SD3|Flux|StableDiffusion|Autoencoder)\w*")


def names_in(path: Path) -> set[str]:
    """The names of components and classes of one family that a module has as a text or asks an object for."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    asked = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return {name for name in texts | asked if NAMES.fullmatch(name)}


def test_no_module_knows_the_components_of_one_family():
    """Protects models that nobody has thought of: what a network is for says its role, not its name."""
    modules = [path for path in (PROJECT / "stages").rglob("*.py")]
    others = [path for path in modules if not str(path.relative_to(PROJECT)).startswith(NAMED)]
    assert len(others) > 100
    assert {str(path.relative_to(PROJECT)): names_in(path) for path in others if names_in(path)} == {}
    assert names_in(PROJECT / "stages/lib/reporting/words/names.py") >= {"unet", "transformer", "text_encoder_2"}
