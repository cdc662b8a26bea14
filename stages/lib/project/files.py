"""Outputs are written whole: a reader sees the old file, the new file or none, never half of one."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.lib.project.documents import parse_json
from stages.lib.project.errors import UserError

SIGNIFICANT_DIGITS = 6


def rounded(value: Any, digits: int = SIGNIFICANT_DIGITS) -> Any:
    """Round every float inside lists and dictionaries to significant digits, so that a rerun gives no diff."""
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 through a temporary file beside `path` and a rename."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` through a temporary file beside `path` and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict | list) -> None:
    """Write JSON with sorted keys, floats of six significant digits, no NaN or Infinity, a final newline.

    What lies in it and holds no other list or mapping, such as the figures of one image, is one line.
    """
    text = json.dumps(rounded(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    innermost = re.compile(r"(?<=[\[{])\n {2}[^\[\]{}]*(?=[\]}])")
    text = innermost.sub(lambda found: re.sub(r"\n *", " ", found[0]).strip(), text)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file; a missing or broken file is a UserError that names it."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` to make it") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): delete it and run `dvc repro`") from None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the place of `path` when the block ends without an error.

    What an interrupted earlier run left behind is removed first. If that run is still going on, because only the
    `dvc` above it was killed, it fails for want of its folder and cannot touch this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git(*arguments: str) -> str:
    """What a Git command prints; empty where there is no Git, or where it fails, as outside a checkout."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
