"""Do the quality figures in reports/ still follow from the stored images?

Run by hand, `python -m stages.verify`; no stage of the pipeline. Every stage that computes figures from images alone
is run again as dvc.yaml says, into a temporary folder, and each figure is compared with the one in reports/. Prints
every figure that differs by more than a share of 1e-5, and exits with 1 if one does or if a stage refuses.
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

RECOMPUTED = ("evaluate", "summarize")
TOLERANCE = 1e-5  # reports keep six significant digits
SHOWN = 20


@dataclass(frozen=True)
class Recomputation:
    """One stage: its command in words, and which of them are outputs."""

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]


def recomputations(project: Path) -> list[Recomputation]:
    """The stages of `project`'s dvc.yaml that compute figures from images, resolved by DVC for every variant."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        found = []
        for stage in repo.index.stages:
            # training/ has a dvc.yaml of its own
            if stage.addressing.partition("@")[0] in RECOMPUTED:
                outputs = tuple(str(Path(out.fs_path).relative_to(repo.root_dir)) for out in stage.outs)
                found.append(Recomputation(stage.addressing, tuple(shlex.split(stage.cmd)), outputs))
    return found


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
    project = parser.parse_args().project.resolve()
    begin_s = time.perf_counter()
    read_lock(project / "dvc.lock")
    items = recomputations(project)
    with TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = pool.map(lambda item: recompute(item, project, Path(folder)), items)
        lines = [line for found in tqdm(runs, total=len(items), desc="verify", unit="stage") for line in found]
    if lines:
        more = f"\n       and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise UserError(
            f"{len(lines)} figures do not follow from the stored images: run `dvc repro`, which makes them anew\n"
            + "\n".join(f"       {line}" for line in lines[:SHOWN])
            + more
        )
    print(f"verify: {len(items)} stages, every quality figure is the same, {time.perf_counter() - begin_s:.1f} s")


if __name__ == "__main__":
    run_stage(main)
