"""Measure a model on a machine that has no DVC, such as a rented GPU, for a report that is rendered elsewhere.

`python -m tools.measure_machine --plan data/machines/gpu.yaml` runs the stages of dvc.yaml that lead to the size, time
and quality of each variant in a scratch folder, and leaves them in reports/machines. Keys of the plan take the place of
those of params.yaml. Variants that are measured are not measured again: run it again to go on.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stages.lib.formats.shared.availability import Obstacle, in_short
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json, rounded, whole_folder, write_json
from stages.lib.project.params import PARAMS_FILE, Params, read_yaml
from stages.lib.results.evidence import seal
from stages.lib.results.machines import FILES
from tools.pipeline_file import PIPELINE, Stage, leading_to, make_project, read_stages, same_place, write_params

ENVIRONMENT = "reports/environment.json"
OF_MACHINE = ("fingerprint", "machine", "software", "threads")  # the part of it that other projects share
SETTINGS = ("prompts", "generation", "calibration", "benchmark", "quality", "device")


def main() -> None:
    """Measure what is missing, say what is left."""
    begin_s = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", type=Path, help="YAML with keys that take the place of those of params.yaml")
    parser.add_argument("--model", help="a key of `models`; default: the plan's")
    parser.add_argument("--variants", help="keys of `variants`, by comma; default: all of them")
    parser.add_argument("--output", type=folder_named, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument(
        "--scratch", type=folder_named, help="where a temporary folder with gigabytes may be; default: /tmp"
    )
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="seconds after which nothing should end")
    arguments = parser.parse_args()
    commit = commit_here()  # what is committed meanwhile is not what runs
    document = planned(arguments.plan, arguments.model, arguments.variants)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        params = make_project(Path(scratch), document)
        run(leading_to([ENVIRONMENT], read_stages(PIPELINE, document)), Path(scratch))
        environment = read_json(Path(scratch, ENVIRONMENT))
        machine = arguments.output / environment["fingerprint"]
        describe_in(machine, environment)
        names = [params.baseline, *(name for name in params.variants if name != params.baseline)]
        note(machine, params.model, dict.fromkeys(names))
        left, failed, longest_s = [], {}, 0.0
        for name in names:
            origin = {"commit": commit, **origin_of(params, document, name)}
            if is_there(machine / params.model / name, origin):
                continue
            start_s = time.monotonic()
            if start_s - begin_s + longest_s > arguments.time_limit:
                left.append(name)
                continue
            failure = environment["obstacles"][name] or measure(document, name, Path(scratch))
            if failure:
                failed[name] = failure
            else:
                keep(machine / params.model / name, origin, Path(scratch, "reports", params.model))
            note(machine, params.model, {name: failure})
            longest_s = max(longest_s, time.monotonic() - start_s)
    print(f"measure_machine: {machine / params.model}, {time.monotonic() - begin_s:.0f} s")
    if left:
        print(f"measure_machine: not begun for want of time: {', '.join(left)}; run it again to go on")
    if failed:
        raise UserError("not measured: " + ", ".join(f"{name} ({in_short(item)})" for name, item in failed.items()))


def folder_named(text: str) -> Path:
    """The type of an option that names a folder, which need not be there: a file is none, nor can lie in one."""
    path = Path(text)
    file = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if file is not None:
        raise argparse.ArgumentTypeError(f"{file} is a file: name a folder")
    return path


def planned(plan: Path | None, model: str | None, variants: str | None) -> dict[str, Any]:
    """params.yaml with the keys of `plan` in their place, the chosen model and variants, and the baseline."""
    document, changes = read_yaml(PARAMS_FILE), read_yaml(plan) if plan else {}
    for key, value in changes.items():
        both = isinstance(document.get(key), dict) and isinstance(value, dict)
        document[key] = {**document[key], **value} if both else value
    document["model"] = model or document.get("model")
    declared = document.get("variants", {})
    chosen = [document.get("baseline"), *(variants.split(",") if variants else changes.get("variants", declared))]
    if unknown := [name for name in chosen if name not in declared]:
        raise UserError(f"there is no variant '{unknown[0]}': declared are {', '.join(declared)}")
    return document | {"variants": {name: declared[name] for name in dict.fromkeys(chosen)}}


def run(stages: Iterable[Stage], folder: Path) -> None:
    """Run those stages in `folder` whose outputs are not there, or of other inputs. A failure is a UserError."""
    new: list[str] = []
    for stage in stages:
        stale = any(same_place(need, path) for need in stage.needs for path in new)
        if not stale and all((folder / path).exists() for path in stage.makes):
            continue
        run_python(f"stage {stage.name}", stage.command[1:], folder)
        new += stage.makes


def run_python(name: str, words: Sequence[str], folder: Path, **variables: str) -> None:
    """Run this Python with `words` in `folder`, with further environment variables. A failure is a UserError."""
    command, environment = [sys.executable, *words], {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise UserError(f"{name}: {lines[-1].removeprefix('error: ')}")


def measure(document: dict[str, Any], variant: str, folder: Path) -> Obstacle | None:
    """Make the reports of a variant in `folder`, where nothing large of it stays; why that failed, or None."""
    pair = {name: document["variants"][name] for name in (document["baseline"], variant)}
    write_params(folder, document | {"variants": pair})
    stages = read_stages(PIPELINE, document | {"variants": pair})
    try:
        run(leading_to([f"reports/{document['model']}/{file}/{variant}.json" for file in FILES[:-1]], stages), folder)
    except UserError as error:
        print(f"measure_machine: {variant}: {error}", file=sys.stderr, flush=True)
        return {"reason": "failed", "message": str(error)}
    finally:
        if variant != document["baseline"]:
            for path in [path for stage in stages if stage.name.endswith(f"@{variant}") for path in stage.makes]:
                shutil.rmtree(folder / path, ignore_errors=True)  # a file is small and stays
    return None


def origin_of(params: Params, document: dict[str, Any], name: str) -> dict[str, Any]:
    """Of which model and settings the results of a variant come."""
    return {
        "model": params.chosen_model.model_dump(mode="json"),
        "model_label": params.chosen_model.label,
        "variant": params.variant(name).model_dump(mode="json", exclude_unset=True),
        "baseline": params.variant(params.baseline).model_dump(mode="json", exclude_unset=True),
        "settings": {key: document[key] for key in SETTINGS},
    }


def is_there(folder: Path, origin: dict[str, Any]) -> bool:
    """Whether `folder` has whole results of that origin, of whatever commit: it stands beside them in the report."""
    if not all((folder / f"{file}.json").is_file() for file in FILES):
        return False
    stored = read_json(folder / "origin.json")
    return {key: stored[key] for key in stored if key != "sha256"} | {"commit": origin["commit"]} == origin


def keep(folder: Path, origin: dict[str, Any], reports: Path) -> None:
    """Take over what the stages wrote in `reports`; earlier results of this machine go."""
    with whole_folder(folder) as new:
        for file in FILES[:-1]:
            write_json(new / f"{file}.json", read_json(reports / file / f"{folder.name}.json"))
        records = {file: read_json(new / f"{file}.json") for file in FILES[:-1]}
        write_json(new / "origin.json", {**origin, "sha256": seal({**records, "origin": rounded(origin)})})


def describe_in(machine: Path, environment: dict[str, Any]) -> None:
    """Write what a machine's folder must have: what the machine is, and what was asked of it, at first nothing."""
    write_json(machine / "environment.json", {key: environment[key] for key in OF_MACHINE})
    if not (machine / "asked.json").is_file():
        write_json(machine / "asked.json", {"models": {}, "failed": {}})


def note(machine: Path, model: str, failures: dict[str, Obstacle | None]) -> None:
    """Remember in asked.json that variants were to be measured, and why some could not be."""
    path = machine / "asked.json"
    asked = read_json(path)
    asked["models"][model] = list(dict.fromkeys([*asked["models"].get(model, []), *failures]))
    failed = {**asked["failed"].get(model, {}), **failures}
    asked["failed"][model] = {name: failure for name, failure in failed.items() if failure}
    write_json(path, asked)


def commit_here() -> str | None:
    """The commit of this checkout, with '-modified' if code or inputs are others than there; None without Git."""
    try:
        head = subprocess.run(["git", "describe", "--always", "--abbrev=12"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", ":!reports"], capture_output=True)
    return f"{head.stdout.strip()}{'-modified' if changed.returncode else ''}" if head.returncode == 0 else None


if __name__ == "__main__":
    run_stage(main)
