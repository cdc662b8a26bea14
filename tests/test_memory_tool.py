"""`make memory`: its copy of the project has as many prompts as asked, and peaks are those of all processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.project.params import load_params
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tools import memory


def test_prompts_are_as_many_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the comparison of few prompts with many, whose ids differ, and the project's own prompts."""
    monkeypatch.chdir(PROJECT)
    own = Path("data/prompts.csv").read_bytes()
    stages = memory.make_copy(tmp_path, 64, ["fp32", "bf16"])
    assert list(load_params(tmp_path / "params.yaml").variants) == ["fp32", "bf16"]
    assert {"generate@bf16", "report"} < {stage.name for stage in stages} and "generate@fp16" not in str(stages)
    lines = (tmp_path / "data/prompts.csv").read_text(encoding="utf-8").splitlines()
    ids = [line.partition(",")[0] for line in lines[1:]]
    assert len(ids) == len(set(ids)) == 64 and Path("data/prompts.csv").read_bytes() == own


def test_the_largest_process_counts_whoever_waits_for_it(tmp_path: Path) -> None:
    """Protects the peak of a stage that works in processes of processes."""
    large = (
        "import os, time; block = bytearray(300 * 1024**2); block[::4096] = b'x' * len(block[::4096])\n"
        "while not os.path.exists('seen'): time.sleep(0.01)"
    )
    stage = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {large!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.read()\n"  # until it ends; nobody asks how large it was
        "os._exit(0)\n"
    )
    (tmp_path / "stage.py").write_text(stage, encoding="utf-8")
    # In a process of its own: a process counts as at least as large as the one that it was forked from.
    code = """
import sys
from pathlib import Path
from tools import memory

def look(pid, high_water_mib=memory.high_water_mib):
    found = high_water_mib(pid)
    if found > 300:
        Path(sys.argv[1], "seen").touch()
    return found

memory.high_water_mib = look
print(memory.peak_mib(["python", "stage.py"], Path(sys.argv[1])))
"""
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=HANGING_S)
    assert 300 < float(done.stdout) < 400
