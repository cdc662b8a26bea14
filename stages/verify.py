"""Do the figures in reports/ still follow from what is stored beside them?

Run by hand, `python -m stages.verify`; no stage of the pipeline. Every record, image, latent and model is compared with
the digest that dvc.lock has of it, sizes with the files, statistics of timings with their calls. Every stage that
computes figures from images alone is run again as dvc.yaml says, into a temporary folder, and each figure compared with
the one in reports/; with --all, those that generate images for their figures too. Prints every figure that differs by
more than a share of 1e-5, and exits with 1 if one does or if a stage refuses. Says what it has not checked.
"""

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json
from stages.lib.project.lock_file import read_lock
from stages.lib.results.evidence import TOLERANCE, against_calls, against_files, against_ledger, unsealed
from stages.lib.results.machines import load_machines

RECOMPUTED = ("evaluate", "summarize")
GENERATING = ("floor", "controls", "sensitivity_components", "sensitivity_steps", "sensitivity_layers")
SHOWN = 20
NOT_CHECKED = (
    "not checked: whether times and memory would come out so again, who edited dvc.lock along with a file, and what "
    "another machine was asked for (asked.json)"
)
GENERATED_NOT = "; floor, controls and sensitivity only against dvc.lock (--all generates them again, in minutes)"


@dataclass(frozen=True)
class Recomputation:
    """One stage: its command in words, and which of them are outputs."""

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]


def stages_of(project: Path) -> list[Recomputation]:
    """The stages of `project`'s own dvc.yaml, resolved by DVC for the chosen model and every variant."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        return [
            Recomputation(
                stage.name,
                tuple(shlex.split(stage.cmd)),
                tuple(str(Path(out.fs_path).relative_to(repo.root_dir)) for out in stage.outs),
            )
            for stage in repo.index.stages
            if Path(stage.path) == Path(repo.root_dir, "dvc.yaml")  # training/ has one of its own
        ]


def against_what_is_there(items: list[Recomputation], project: Path) -> Iterator[str]:
    """A line for each record that does not agree with the ledger, the model's files or its own measurements."""
    lock = read_lock(project / "dvc.lock")
    load_machines(project / "reports/machines")  # one that was edited is a UserError
    yield from unsealed(project / "reports/machines")
    yield from against_ledger([item.name for item in items], lock, project)
    for item in items:
        kind, _, variant = item.name.partition("@")
        for file in (output for output in item.outputs if output.endswith(f"/{variant}.json")):
            record = read_json(project / file)
            try:
                if kind == "benchmark" and record["measured"]:
                    yield from (f"{file}: {line}" for line in against_calls(record))
                elif kind == "quantize" and "disk_mib" in record:
                    folder = project / next(output for output in item.outputs if output.endswith(f"/models/{variant}"))
                    yield from (f"{file}: {line}" for line in against_files(record, folder))
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                yield f"{file} is no record as {kind} writes it ({type(error).__name__}: {error})"


def recompute(item: Recomputation, project: Path, folder: Path) -> list[str]:
    """Run one stage with its outputs inside `folder`; what differs from the outputs in `project`, a line each."""
    missing = [output for output in item.outputs if not (project / output).exists()]
    if missing:
        return [f"{missing[0]} is missing: run `dvc repro {item.name}`"]
    words = [str(folder / word) if word in item.outputs else word for word in item.words]
    done = subprocess.run([sys.executable, *words[1:]], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{item.name} refuses: {' '.join(done.stderr.strip().splitlines()[-1:])}"]
    return [line for output in item.outputs for line in _compare(project, folder, output)]


def _compare(project: Path, folder: Path, output: str) -> Iterator[str]:
    path = project / output
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        name = file.relative_to(project)
        again = folder / name
        if not again.is_file():
            yield f"{name}: no stage writes it any more"
            continue
        yield from differing(read_json(file), read_json(again), f"{name}:")


def differing(stored: Any, again: Any, place: str) -> Iterator[str]:
    """A line for each leaf of two JSON values that is not the same; numbers may differ by a share of 1e-5."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in sorted(stored.keys() | again.keys()):
            if key in stored and key in again:
                yield from differing(stored[key], again[key], f"{place} {key}")
            else:
                yield f"{place} {key} is only in the {'stored' if key in stored else 'recomputed'} figures"
    elif isinstance(stored, list) and isinstance(again, list):
        if len(stored) != len(again):
            yield f"{place} has {len(stored)} entries stored, {len(again)} recomputed"
            return
        for number, pair in enumerate(zip(stored, again, strict=True)):
            yield from differing(*pair, f"{place} {_name(number, *pair)}")
    elif not _same(stored, again):
        yield f"{place} is {json.dumps(stored)} stored, {json.dumps(again)} recomputed"


def _name(number: int, stored: Any, again: Any) -> str:
    """What a reader calls an entry of a list: its id or variant if it has one, else its number."""
    named = [item for item in (stored, again) if isinstance(item, dict)]
    return next((str(item[key]) for item in named for key in ("id", "variant") if key in item), str(number))


def _same(stored: Any, again: Any) -> bool:
    numbers = all(isinstance(item, int | float) and not isinstance(item, bool) for item in (stored, again))
    if numbers:
        return math.isclose(stored, again, rel_tol=TOLERANCE, abs_tol=1e-9)
    return type(stored) is type(again) and stored == again


def main() -> None:
    """Recompute, compare, print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, default=Path(), help="folder with dvc.yaml")
    parser.add_argument("--all", action="store_true", help="generate images again where figures need it")
    arguments = parser.parse_args()
    project, chosen = arguments.project.resolve(), RECOMPUTED + (GENERATING if arguments.all else ())
    begin_s = time.perf_counter()
    read_lock(project / "dvc.lock")
    stages = stages_of(project)
    items = [item for item in stages if item.name.partition("@")[0] in chosen]
    lines = list(against_what_is_there(stages, project))
    with TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=1 if arguments.all else os.cpu_count()) as pool:
        runs = pool.map(lambda item: recompute(item, project, Path(folder)), items)
        lines += [line for found in tqdm(runs, total=len(items), desc="verify", unit="stage") for line in found]
    if lines:
        more = f"\n       and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise UserError(
            f"{len(lines)} figures do not follow from what is stored: run `dvc repro`, which makes them anew\n"
            + "\n".join(f"       {line}" for line in lines[:SHOWN])
            + more
        )
    print(
        f"verify: {len(items)} stages, every quality figure is the same; {len(stages)} stages, every record is the one "
        f"that was written; {time.perf_counter() - begin_s:.1f} s"
    )
    print(f"verify: {NOT_CHECKED}{'' if arguments.all else GENERATED_NOT}")


if __name__ == "__main__":
    run_stage(main)
