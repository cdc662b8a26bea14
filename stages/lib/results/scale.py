"""Thousands of images on other machines: how generation spread over GPUs, and what formats do to large sets.

reports/machines/FINGERPRINT/scale.json, by tools/measure_scale.py, with `sha256`, a digest over all else.
"""

from pathlib import Path
from typing import Any

from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.results.evidence import seal

RECORD = "scale.json"


def load_scale(folder: Path, remedy: str) -> dict[str, Any] | None:
    """The record of a machine's folder; None where it has none. An edited one is a UserError."""
    path = folder / RECORD
    if not path.is_file():
        return None
    content = read_mapping(path, remedy)
    if content.pop("sha256", None) != seal(content):
        raise UserError(f"{path} was edited after it was measured: {remedy}")
    return content
