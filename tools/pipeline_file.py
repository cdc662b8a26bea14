"""dvc.yaml without DVC: its stages with the values of a params.yaml, their order, and a folder to run them in."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Params, load_params
from stages.lib.project.variant import AUTO

PIPELINE = Path("dvc.yaml")
RUNS = Path("data/runs")  # models, noise and images, in a folder of each model's key
MACHINES = Path("reports/machines")
RECOMMENDED = "spare.yaml"
OWN = {PARAMS_FILE, Path("data"), RUNS, MACHINES.parent}  # what two projects do not share


@dataclass(frozen=True)
class Stage:
    """One stage, or one item of a `foreach`. Paths are relative to the folder of dvc.yaml."""

    name: str  # as DVC has it: quantize@fp16
    command: list[str]
    needs: tuple[str, ...]
    makes: tuple[str, ...]


def read_stages(pipeline: Path, params: Mapping[str, Any]) -> list[Stage]:
    """The stages of the file `pipeline`, in which ${a.b} is the value `b` of section `a` of `params`."""
    stages = []
    for name, entry in YAML(typ="safe", pure=True).load(pipeline)["stages"].items():
        if "foreach" not in entry:
            stages.append(_stage(name, entry, params))
            continue
        for key, item in _value(entry["foreach"][2:-1], params).items():
            stages.append(_stage(f"{name}@{key}", entry["do"], {**params, "key": key, "item": item}))
    return stages


def leading_to(outputs: Iterable[str], stages: Iterable[Stage]) -> list[Stage]:
    """The stages that make `outputs`, each after those that make what it needs."""
    found: dict[str, Stage] = {}

    def visit(path: str) -> None:
        for stage in stages:
            if stage.name not in found and any(same_place(path, made) for made in stage.makes):
                for need in stage.needs:
                    visit(need)
                found[stage.name] = stage

    for path in outputs:
        visit(path)
    return list(found.values())


def same_place(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is inside the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def make_project(folder: Path, document: Mapping[str, Any]) -> Params:
    """Make `folder` a project to run stages in: `document` is its params.yaml, its inputs are links to this one's."""
    write_params(folder, document)
    try:
        params = load_params(folder / PARAMS_FILE)
    except UserError as error:
        raise UserError(str(error).replace(str(folder / PARAMS_FILE), f"{PARAMS_FILE}, as changed")) from None
    (folder / "data").mkdir()
    (folder / "reports").mkdir()
    inputs = [path for path in (*Path().iterdir(), *Path("data").iterdir()) if path not in OWN]
    for path in (*inputs, MACHINES):
        (folder / path).symlink_to(path.resolve())
    return params


def write_params(folder: Path, document: Mapping[str, Any]) -> None:
    """`document` as the params.yaml of `folder`."""
    YAML().dump(dict(document), folder / PARAMS_FILE)


def _stage(name: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> Stage:
    def filled(text: str) -> str:
        return re.sub(r"\$\{([^}]*)\}", lambda found: str(_value(found[1], values)), text)

    def paths(section: str) -> Iterator[str]:
        for item in entry.get(section, ()):
            yield from map(filled, item if isinstance(item, dict) else [item])

    files = [filled(path) for item in entry.get("params", ()) if isinstance(item, dict) for path in item]
    if "item" in values and values["item"].get("spare") != AUTO:
        files = [path for path in files if Path(path).name != RECOMMENDED]  # nothing in it concerns such a variant
    makes = [path for section in ("outs", "metrics", "plots") for path in paths(section)]
    return Stage(name, shlex.split(filled(entry["cmd"])), (*paths("deps"), *files), tuple(makes))


def _value(dotted: str, values: Mapping[str, Any]) -> Any:
    for key in dotted.split("."):
        values = values[key]
    return values
