"""Thousands of images on other machines: how generation spread over GPUs, and what formats do to large sets.

reports/machines/FINGERPRINT/scale.json, by tools/measure_scale.py, with `sha256`, a digest over all else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.results.evidence import seal

RECORD = "scale.json"
NETWORKS = ("clip", "imagenet")


@dataclass(frozen=True)
class Scale:
    """`spread`: the stage generate on 1, 2, 4 ... GPUs, with the `speedup` over one; `sets`: each format's images."""

    model_label: str
    baseline_label: str
    gpu: str | None
    commit: str | None
    spread: tuple[dict[str, Any], ...]
    sets: dict[str, Any]

    @property
    def same_files(self) -> bool:
        """Whether every number of GPUs wrote the same bytes."""
        return len({row["sha256"] for row in self.spread}) == 1

    @property
    def networks(self) -> list[str]:
        """Whose features the distances of sets are of."""
        return [name for name in NETWORKS if all(name in row for row in self.sets["rows"])]

    @property
    def tables(self) -> int:
        """How many a report shows of it."""
        return (len(self.spread) > 1) + bool(self.sets["rows"])


def load_scale(folder: Path, remedy: str) -> Scale | None:
    """The record of a machine's folder; None where it has none. An edited one is a UserError."""
    path = folder / RECORD
    if not path.is_file():
        return None
    content = read_mapping(path, remedy)
    if content.pop("sha256", None) != seal(content):
        raise UserError(f"{path} was edited after it was measured: {remedy}")
    each_s = [row["seconds"] / row["images"] for row in content["spread"]]
    spread = tuple(row | {"speedup": each_s[0] / own_s} for row, own_s in zip(content["spread"], each_s, strict=True))
    return Scale(*(content[key] for key in ("model_label", "baseline_label", "gpu", "commit")), spread, content["sets"])
