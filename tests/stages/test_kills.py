"""Processes of two hosts that generate, killed at any moment: nothing is lost or left, and the bytes are the same.

Two kills by turns of both; KILLS=20 does so many.
"""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.processes import HANGING_S, wait_until
from tests.tiny_project import bytes_of, write_models, write_settings
from tests.warm_python import warm_python

KILLS = int(os.environ.get("KILLS", "2"))
PROMPTS = 16
ENDED_S = 30  # after one is killed, the other one has ended


@pytest.fixture
def project(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the tiny model with more prompts, as the working folder."""
    write_settings(tmp_path)
    rows = [f"p{number},A cat number {number},cat,simple,{number},study" for number in range(PROMPTS)]
    (tmp_path / "data/prompts.csv").write_text("\n".join(["id,prompt,kind,complexity,seed,set", *rows, ""]))
    write_models(tmp_path, tiny_model, ("fp32",))
    monkeypatch.chdir(tmp_path)
    done = start("noise", "--base", "data/runs/tiny/models/fp32", "--output", "data/runs/tiny/noise.safetensors")
    assert done.wait(HANGING_S) == 0, done.stderr.read()
    return tmp_path


def start(stage: str, *words: str, **variables: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), **variables}
    command = [warm_python(), "-m", f"stages.{stage}", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def generate(output: str, port: int = 0) -> list[subprocess.Popen]:
    """One process, or with a port those of two hosts."""
    words = [
        "--variant",
        "fp32",
        "--model",
        "data/runs/tiny/models/fp32",
        "--noise",
        "data/runs/tiny/noise.safetensors",
    ]
    launched = {"WORLD_SIZE": "2", "MASTER_PORT": str(port), "MASTER_ADDR": "127.0.0.1"}
    ranks = [{**launched, "RANK": str(rank)} for rank in range(2)] if port else [{}]
    return [start("generate", *words, "--output", output, **rank) for rank in ranks]


def test_kills_of_any_process_at_any_moment_lose_nothing(project, free_port):
    (alone,) = generate("alone/fp32")
    wait_until(lambda: list(Path("alone").glob("*")), "it begins")
    begin_s = time.monotonic()
    assert alone.wait(HANGING_S) == 0, alone.stderr.read()
    whole_s = time.monotonic() - begin_s
    expected = bytes_of(Path("alone/fp32"))
    chance, kept = random.Random(0), 0
    for number in range(KILLS):
        processes = generate("many/fp32", free_port)
        wait_until(lambda: Path("many/fp32").exists() or len(whole()) > kept, "they have met, and generate")  # noqa: B023
        time.sleep(chance.uniform(0, whole_s))
        killed = number % 2
        processes[killed].kill()
        other = processes[1 - killed]
        _, errors = other.communicate(timeout=ENDED_S + HANGING_S)
        processes[killed].communicate()
        if other.returncode:  # else all was done before the kill
            assert errors.count("error:") == 1, errors
        assert len(whole()) >= kept, "whole images were lost"
        kept = len(whole())
        if Path("many/fp32").exists():
            assert bytes_of(Path("many/fp32")) == expected
            shutil.rmtree("many")
            kept = 0
    (last,) = generate("many/fp32")
    assert last.wait(HANGING_S) == 0, last.stderr.read()
    assert bytes_of(Path("many/fp32")) == expected
    assert [path.name for path in Path("many").iterdir()] == ["fp32"]


def whole() -> list[Path]:
    """The images that are there."""
    return list(Path("many").glob("*/p*.png"))
