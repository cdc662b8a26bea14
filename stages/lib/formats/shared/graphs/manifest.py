"""The SHA-256 of every graph file, so that only files that this project wrote are run or counted."""

from pathlib import Path

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, sha256, write_json


def write_manifest(manifest: Path, names: list[str]) -> None:
    """Record the SHA-256 of the files `names`, paths relative to the folder of `manifest`."""
    write_json(manifest, {"sha256": {name: sha256(manifest.parent / name) for name in names}})


def check_files(manifest: Path, names: list[str]) -> None:
    """Raise a UserError that names the file unless each of `names` is there as it was written."""
    folder, digests = manifest.parent, read_json(manifest)["sha256"]
    for name in names:
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing: delete {folder}, run `dvc repro`")
        if sha256(path) != digests.get(name):
            raise UserError(f"{path} is not the file that {manifest} lists: delete {folder}, run `dvc repro`")
