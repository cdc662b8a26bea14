"""What stands beside a record and must agree with it: the ledger, the files it counts, its own raw measurements."""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.lib.models.inventory import disk_bytes
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.lock_file import LockedStage, digest, stale_inputs
from stages.lib.project.measurement import Measurement
from stages.lib.results.speeds import own_ratio
from stages.lib.timing.machine import fingerprint_of

TOLERANCE = 1e-5  # reports keep six significant digits
MIB = 1024**2
ROLES = {"variant": "latency_s", "baseline": "baseline_latency_s"}


def against_ledger(stages: Collection[str], lock: Mapping[str, LockedStage], project: Path) -> Iterator[str]:
    """A line for each output of `stages` that is not what its stage wrote, or was made of what is not there any more.

    So records of images and models belong to those beside them, and no file was edited; what was edited in the ledger
    as well is not found.
    """
    for name in stages:
        if name not in lock:
            yield f"{name} has not run: run `dvc repro {name}`"
            continue
        for path, md5 in lock[name].outs.items():
            found = digest(project / path)
            if found != md5:
                yield f"{path} is {'not what' if found else 'missing, which'} {name} wrote"
        for path in stale_inputs(lock[name], lock):
            yield f"{name} has read another {path} than is there now"


def against_files(size: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """A line for each component whose bytes on disk are not those of the files in the model's `folder`."""
    stored = disk_bytes(folder)
    for component in size["components"]:
        name, stated = component["component"], component["disk_mib"]
        found = stored.get(name, 0) / MIB
        if not _same(stated, found):
            yield f"{name} disk_mib is {stated} stated, {found:.6g} in the files"


def against_calls(timing: Mapping[str, Any]) -> Iterator[str]:
    """A line for each statistic of a timing that does not follow from its samples, and for samples that no call has."""
    for place, stated in _measurements(timing, ""):
        measured = Measurement.from_json(stated)
        # a sample is off by what its digits leave out, and the spread of nearly equal ones with it
        lost = TOLERANCE * max(map(abs, measured.samples))
        for key, value in measured.as_json().items():
            if isinstance(value, float) and not _same(stated[key], value, lost):
                yield f"{place} {key} is {stated[key]} stated, {value:.6g} by its samples"
    named = {item["name"]: item for item in timing.get("measurements", ())}
    for role, key in ROLES.items():
        calls = [call["latency_s"] for call in timing["calls"] if call["role"] == role]
        if key in named and named[key]["samples"] != calls:
            yield f"{key} has other samples than the calls of the {role}"
    if "ratio" in timing:
        for key, value in asdict(own_ratio(timing)).items():
            if not _same(timing["ratio"][key], value):
                yield f"ratio {key} is {timing['ratio'][key]} stated, {value:.6g} by the calls"
    for key in named.keys() & timing.keys():
        median = Measurement.from_json(named[key]).median
        if not _same(timing[key], median):
            yield f"{key} is {timing[key]} stated, {median:.6g} by its samples"


def _same(stated: float, found: float, lost: float = 0.0) -> bool:
    return math.isclose(stated, found, rel_tol=2 * TOLERANCE, abs_tol=max(lost, 1e-9))


def _measurements(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict) and {"unit", "samples"} <= value.keys():
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _measurements(item, f"{place} {key}".strip())
    elif isinstance(value, list):
        for number, item in enumerate(value):
            named = isinstance(item, dict) and (item.get("name") or item.get("component"))
            yield from _measurements(item, f"{place} {named or number}")


def seal(records: Mapping[str, Any]) -> str:
    """SHA-256 of the records of another machine: what was edited since has another one."""
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()


def read_sealed(path: Path, remedy: str) -> dict[str, Any] | None:
    """The record at `path` without its `sha256`; None where there is no file. An edited one is a UserError."""
    if not path.is_file():
        return None
    content = read_mapping(path, remedy)
    if content.pop("sha256", None) != seal(content):
        raise UserError(f"{path} was edited after it was measured: {remedy}")
    return content


def unsealed(machines: Path) -> Iterator[str]:
    """A line for each machine in that folder that was described otherwise, and each of its records without a seal."""
    for path in sorted(machines.glob("*/environment.json")):
        content = read_json(path)
        if content.pop("fingerprint") != fingerprint_of(content):
            yield f"{path} was edited: it describes the machine {fingerprint_of(content)}"
        for origin in sorted(path.parent.glob("*/*/origin.json")):
            if "sha256" not in read_json(origin):
                yield f"{origin} has no 'sha256': nothing tells whether the records beside it were edited"
