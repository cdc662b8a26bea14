"""What dvc.yaml says, read without DVC: its stages and their commands."""

import shlex
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[3]


def stage_command(stage: str, variant: str = "") -> list[str]:
    """The words of a stage's command, such as ["python", "-m", "stages.quantize", ...], for one variant."""
    entry = _stages()[stage]
    return shlex.split(entry.get("do", entry)["cmd"].replace("${key}", variant))


def stage_names() -> list[str]:
    """All stages, in the order in which they are declared."""
    return list(_stages())


def is_per_variant(stage: str) -> bool:
    """Whether there is one of it for every variant."""
    return "foreach" in _stages()[stage]


@cache
def _stages() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")["stages"]
