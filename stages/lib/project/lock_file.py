"""What dvc.lock says: the command, parameters and hashes with which each stage last ran."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.documents import check_expansion
from stages.lib.project.errors import UserError

MOST_VALUES = 100_000  # nine times those of sixteen formats


@dataclass(frozen=True)
class LockedStage:
    """One stage as it last ran. `deps` and `outs` are MD5s by path; `params` values by file and key."""

    name: str
    command: str
    deps: Mapping[str, str]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, str]

    def output(self, file: str) -> str | None:
        """The path of the output that `file` is, or lies in."""
        return next((path for path in self.outs if f"{file}/".startswith(f"{path}/")), None)


def read_lock(path: Path) -> dict[str, LockedStage]:
    """Every stage of a dvc.lock by its name, such as 'evaluate@fp16'. One that DVC could not read is a UserError."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro` to measure something that can be traced")
    text = path.read_bytes()
    try:
        if not text.endswith(b"\n"):  # cut within a line it may be YAML still, with a value that DVC stumbles over
            raise ValueError(text[-10:])
        if re.search(rb"[*&]|<<", text):  # DVC writes no aliases, and whole files of them take minutes and all memory
            check_expansion(text.decode("utf-8"), MOST_VALUES, len(text))
        stages = COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text)).get("stages", {})
    except (YAMLError, ValueError, Invalid):
        if not text.strip():
            found = "is empty"
        elif b"<<<<<<< " in text:
            found = "has the marks of a merge conflict"
        else:
            found = "is damaged"
        raise UserError(
            f"{path} {found}. Nothing else is lost: run `git checkout HEAD -- {path}`, or delete it where there is no "
            "Git, then `make report`: what it had recorded since comes back from DVC's cache"
        ) from None
    return {
        name: LockedStage(
            name=name,
            command=" ".join((stage["cmd"] if isinstance(stage["cmd"], str) else " && ".join(stage["cmd"])).split()),
            deps={item["path"]: item.get("md5", "") for item in stage.get("deps", ())},
            params=stage.get("params", {}),
            outs={item["path"]: item.get("md5", "") for item in stage.get("outs", ())},
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
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if not path.is_dir():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc")
    listed = [{"md5": digest(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listed.sort(key=lambda item: item["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
