"""What dvc.lock says: the command, parameters and hashes with which each stage last ran."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError


@dataclass(frozen=True)
class LockedStage:
    """One stage as it last ran. `deps` and `outs` are MD5s by path; `params` values by file and key."""

    name: str
    command: str
    deps: Mapping[str, str]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, str]


def read_lock(path: Path) -> dict[str, LockedStage]:
    """Every stage of a dvc.lock by its name, such as 'evaluate@fp16'."""
    from ruamel.yaml import YAML

    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro` to measure something that can be traced")
    stages = (YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}).get("stages", {})
    return {
        name: LockedStage(
            name=name,
            command=" ".join(stage["cmd"].split()),
            deps={item["path"]: item["md5"] for item in stage.get("deps", ())},
            params=stage.get("params", {}),
            outs={item["path"]: item["md5"] for item in stage.get("outs", ())},
        )
        for name, stage in stages.items()
    }


def makers_of(path: str, lock: Mapping[str, LockedStage]) -> list[LockedStage]:
    """The stages that wrote `path`, or what lies in the folder `path`; none for what no stage makes."""
    return [stage for stage in lock.values() if any(f"{out}/".startswith(f"{path}/") for out in stage.outs)]


def upstream(stage: LockedStage, lock: Mapping[str, LockedStage], variants: Collection[str]) -> Iterator[LockedStage]:
    """The stages that made what `stage` read, nearest first, each once.

    Of a folder with files of every format only those of `variants` are followed.
    """
    waiting, seen = [stage], {stage.name}
    while waiting:
        current = waiting.pop(0)
        read = [*current.deps, *(file for file in current.params if file != "params.yaml")]
        for maker in (maker for path in read for maker in makers_of(path, lock)):
            variant = maker.name.partition("@")[2]
            inside = not any(path in maker.outs for path in read)
            if maker.name in seen or (inside and variant and variant not in variants):
                continue
            seen.add(maker.name)
            waiting.append(maker)
            yield maker


def stale_inputs(stage: LockedStage, lock: Mapping[str, LockedStage]) -> dict[str, str]:
    """What `stage` read of other stages that they have made anew since, with its present hash."""
    made = {path: md5 for other in lock.values() for path, md5 in other.outs.items()}
    return {path: made[path] for path, md5 in stage.deps.items() if made.get(path, md5) != md5}


def digest(path: Path) -> str | None:
    """The MD5 of a file or a folder as dvc.lock has it; None if it is missing. Python's own caches do not count."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if not path.is_dir():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc")
    listed = [{"md5": digest(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listed.sort(key=lambda item: item["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
