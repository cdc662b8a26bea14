"""What Git keeps: nothing large but the embedded models, the images of the documents and the printed reports."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT

LARGEST_BYTES = 1024**2
MAY_BE_LARGE = ("data/embedded*/**", "docs/**", "reports/**/*.pdf")


def large_files(repository: Path) -> set[str]:
    """The tracked files, those just added included, that are too large."""
    command = ["git", "ls-files", "-z", "--", ".", *(f":(glob,exclude){pattern}" for pattern in MAY_BE_LARGE)]
    tracked = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    paths = [repository / name for name in tracked.split("\0") if name]
    return {
        str(path.relative_to(repository)) for path in paths if path.is_file() and path.lstat().st_size > LARGEST_BYTES
    }


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="no Git checkout")
def test_no_large_file_is_tracked() -> None:
    """Protects who clones: a wheel once came in by accident, and history keeps it for ever."""
    assert large_files(PROJECT) == set()


def test_a_wheel_added_by_accident_is_noticed(tmp_path: Path) -> None:
    """Protects the test above from passing whatever is there."""
    for name in ("tools/torch.whl", "data/embedded/unet/weights.safetensors", "reports/embedded/report.pdf"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(LARGEST_BYTES + 1))
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    assert large_files(tmp_path) == {"tools/torch.whl"}
