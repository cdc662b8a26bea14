"""A back end is one package and one line: nothing else knows which there are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.tiny_project import write_settings

OPTIONS = """\
from typing import ClassVar, Literal

from stages.lib.project.variant import Variant


class Options(Variant):
    packages: ClassVar[tuple[str, ...]] = ("numpy", "nobody-has-it")

    backend: Literal["madeup"]
    weights: Literal["float32"]
    speed: Literal["high", "low"] = "high"

    def obstacle(self, device, machine):
        return {"reason": "no_cuda"} if self.speed == "low" else None
"""
LINE = '    "madeup": Backend("stages.lib.formats.madeup.backend", 1.0),\n'
LOOK = """\
from stages.environment import available, describe
from stages.lib.formats import BACKENDS
from stages.lib.project.params import load_params

params, described = load_params(), describe()
found = available(params, described["machine"], described["software"])
print(sorted(found["packages"]["madeup"]), found["obstacles"]["quick"], params.variant("quick").speed)
print(BACKENDS["madeup"].load_module().load())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose code has the back end `madeup`, and a variant of it."""
    write_settings(tmp_path)
    shutil.copytree(PROJECT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__", "locales"))
    package = tmp_path / "stages/lib/formats/madeup"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "options.py").write_text(OPTIONS, encoding="utf-8")
    (package / "backend.py").write_text("def load():\n    return 'loaded'\n", encoding="utf-8")
    edit(tmp_path / "stages/lib/formats/__init__.py", "BACKENDS = {\n", f"BACKENDS = {{\n{LINE}")
    edit(tmp_path / "params.yaml", "variants:\n", "variants:\n  quick: {label: Q, backend: madeup, weights: float32}\n")
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def ask(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True)


def test_a_package_and_a_line_make_a_back_end(project: Path) -> None:
    """Protects somebody who adds one from ladders of conditions elsewhere."""
    done = ask(project, "-c", LOOK)
    said = "['nobody-has-it', 'numpy'] {'reason': 'not_installed', 'packages': ['nobody-has-it']}"
    assert done.stdout.splitlines() == [f"{said} high", "loaded"], done.stderr


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("speed: fast", "speed 'fast' is not something back end 'madeup' can do: use one of high, low"),
        ("spede: low", "unknown key 'variants.quick.spede': did you mean 'speed'? legal here: label, backend, weights"),
        ("schedule: [float32]", "'variants.quick.schedule': it goes with `backend: openvino`; legal here: label"),
    ],
)
def test_mistakes_in_its_options_are_told_as_any_other(project: Path, key: str, said: str) -> None:
    edit(project / "params.yaml", "backend: madeup,", f"backend: madeup, {key},")
    assert said in ask(project, "-m", "stages.lib.project.params").stderr
