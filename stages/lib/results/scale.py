"""Thousands of images on other machines: how generation spread over GPUs, and what formats do to large sets.

reports/machines/FINGERPRINT/scale.json, by tools/measure_scale.py, with `sha256`, a digest over all else.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from stages.lib.results.evidence import read_sealed

RECORD = "scale.json"
NETWORKS = ("clip", "imagenet")


@dataclass(frozen=True)
class Scale:
    """What was measured of one model on one machine.

    `spread`: the stage generate on 1, 2, 4 ... GPUs: `gpus`, `images`, `seconds`, `digest` of all files, and `speedup`
    over the first, a ratio. `sets`: `rows` of formats, the baseline first, with `batch_size` prompts in a call,
    `margin`, percentage points of attributes, and `fid_images`, below which n the FID is not to be read alone.

    `origin`: `runs` that generated the batches, each with `commit`, `processes`, `prompts` and perhaps `seconds`,
    `features`, the networks that it is taken for, and `kept`, their dtype in its files; `compared`, the commit of the
    code that compared them; and `notes`, keys of names_of("scale_note"), on what was done by hand.
    """

    model_label: str
    baseline_label: str
    gpu: str | None
    origin: dict[str, Any]
    spread: tuple[dict[str, Any], ...]
    sets: dict[str, Any]

    @property
    def same_files(self) -> bool:
        """Whether every number of GPUs wrote the same bytes."""
        return len({row["digest"] for row in self.spread}) == 1

    @property
    def networks(self) -> list[str]:
        """Whose features the distances of sets are of."""
        return [name for name in NETWORKS if all(name in row for row in self.sets["rows"])]

    @property
    def with_fid(self) -> list[str]:
        """Those of them that had images enough for a FID."""
        return [network for network in self.networks if self.sets["rows"][0][network]["fid"]]

    @property
    def fid_is_biased(self) -> bool:
        """Whether a FID is of fewer images than this project gives one of alone."""
        first = self.sets["rows"][0]
        return any(first[network]["kid"]["n"] < self.sets["fid_images"] for network in self.with_fid)

    @property
    def tables(self) -> int:
        """How many a report shows of it."""
        return (len(self.spread) > 1) + bool(self.sets["rows"])

    def disagreements(self) -> list[tuple[dict[str, Any], dict[str, Any], str, str]]:
        """Pairs of formats and of networks: by FID the first format is further than the second by the first network,
        and nearer by the second one, and no two of these intervals overlap."""
        found = []
        for one, other in combinations(self.sets["rows"][1:], 2):
            for here, there in combinations(self.with_fid, 2):
                if beyond(one, other, here) and beyond(other, one, there):
                    found.append((one, other, here, there))
                elif beyond(other, one, here) and beyond(one, other, there):
                    found.append((other, one, here, there))
        return found


def beyond(one: dict[str, Any], other: dict[str, Any], network: str) -> bool:
    """Whether the interval of one row's excess of FID lies above that of another."""
    return one[network]["fid"]["low"] > other[network]["fid"]["high"]


def load_scale(folder: Path, remedy: str) -> Scale | None:
    """The record of a machine's folder; None where it has none. An edited one is a UserError."""
    content = read_sealed(folder / RECORD, remedy)
    if content is None:
        return None
    each_s = [row["seconds"] / row["images"] for row in content["spread"]]
    spread = tuple(row | {"speedup": each_s[0] / own_s} for row, own_s in zip(content["spread"], each_s, strict=True))
    return Scale(*(content[key] for key in ("model_label", "baseline_label", "gpu", "origin")), spread, content["sets"])
