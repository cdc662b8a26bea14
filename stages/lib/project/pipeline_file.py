"""What dvc.yaml says, read without DVC: the commands of its stages."""

import shlex
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[3]
RUNS = Path("data/runs")  # models, noise and images, in a folder of each model's key


def stage_command(stage: str, model: str, variant: str = "") -> list[str]:
    """The words of a stage's command, such as ["python", "-m", "stages.quantize", ...], for a model and a variant."""
    entry = _stages()[stage]
    return shlex.split(entry.get("do", entry)["cmd"].replace("${model}", model).replace("${key}", variant))


@cache
def _stages() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")["stages"]
