"""What dvc.yaml says, read without DVC: the command of a stage, and the code that a measurement comes from."""

import hashlib
import shlex
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[2]
# The stages whose code decides what a variant's size, timing and quality are.
MEASURING = ("download", "noise", "calibrate", "quantize", "generate", "benchmark", "evaluate")


def stage_command(stage: str, variant: str = "") -> list[str]:
    """The words of a stage's command, such as ["python", "-m", "stages.quantize", ...], for one variant."""
    return shlex.split(_stage(stage)["cmd"].replace("${key}", variant))


def code_digest(backend: str) -> str:
    """SHA-256, in hexadecimal, over the modules that measure a variant of that back end, by path.

    They are those that dvc.yaml declares as dependencies of the stages in MEASURING; no Git is needed.
    """
    declared = {str(path).replace("${item.backend}", backend) for name in MEASURING for path in _stage(name)["deps"]}
    paths = [PROJECT / path for path in declared if path.startswith("stages/")]
    files = {file for path in paths for file in ([path] if path.suffix == ".py" else path.rglob("*.py"))}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(PROJECT).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _stage(name: str) -> dict[str, Any]:
    stage = YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")["stages"][name]
    return stage.get("do", stage)
