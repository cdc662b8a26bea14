"""`python -m tools.run`: DVC with a toy pipeline, told, interrupted, killed, and with a dvc.lock that stays whole."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml
from ruamel.yaml import YAML

from tests.conftest import PROJECT
from tests.processes import HANGING_S, is_gone, wait_until
from tests.warm_python import warm_python
from tools.progress import in_words, time_left
from tools.run import lock_text

PIPELINE = """
stages:
  always:
    cmd: echo same > always.txt
    always_changed: true
    outs: [always.txt: {cache: false}]
  one:
    foreach: [a, b]
    do:
      cmd: cat always.txt > one-${item}.txt; echo ${item} >> one-${item}.txt
      deps: [always.txt]
      outs: ["one-${item}.txt"]
  two:
    cmd: cat one-a.txt one-b.txt > two.txt
    deps: [one-a.txt, one-b.txt]
    outs: [two.txt]
"""
REPORT = "The report: reports/embedded/brief.pdf (two pages), report.pdf, and report.html for the screen."
# Tells of every file that is opened for writing.
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("dvc.lock") and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        os.write(2, b"dvc.lock was opened for writing\\n")
sys.addaudithook(watch)
"""
# A stage that waits, and a process that it started, as timing and generation do.
WAIT = """
import os, subprocess, sys, time
import stages
if len(sys.argv) < 2:
    child = subprocess.Popen([sys.executable, "-c", open("wait.py").read(), "child"])
    for path in ("data/.half.1.partial", ".dvc.lock.1.partial"):
        open(path, "w").close()
    open(os.environ["TMPDIR"] + "/litter", "w").close()
    open("started", "w").write(f"{os.getpid()} {child.pid}")
time.sleep(3600)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The toy pipeline in a project of its own, without Git."""
    shutil.copy2(PROJECT / "params.yaml", tmp_path)
    for name in ("prompts.csv", "calibration.csv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copy2(PROJECT / "data" / name, tmp_path / "data")
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, env=environment(tmp_path), check=True)
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": programs, "PYTHONPATH": f"{project}{os.pathsep}{PROJECT}"}


def run(project: Path, module: str = "tools.run", *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [warm_python(), "-m", module, *arguments],
        cwd=project, env=environment(project) | variables, capture_output=True, text=True, timeout=HANGING_S,
    )  # fmt: skip


def test_each_stage_that_runs_is_told_with_its_number_and_nothing_else_is(project: Path) -> None:
    """Protects who waits: number, name, and from the second run on what is left."""
    first = run(project)
    assert first.stdout.splitlines() == ["[1/4] always", "[2/4] one@a", "[3/4] one@b", "[4/4] two", REPORT]
    assert (first.stderr, first.returncode) == ("", 0)
    (project / "reports/embedded/stage_times.json").write_text('{"one@a": 300.0, "two": 60.0}', encoding="utf-8")
    for name in ("one-b.txt", "two.txt"):
        (project / name).unlink()
    shutil.rmtree(project / ".dvc/cache")
    lines = run(project).stdout.splitlines()
    assert lines[:2] == ["[1/4] always", "[2/4] one@a, about 11 min left"]
    assert [re.sub(r"\d+ (s|min)", "N", line) for line in lines[2:]] == [
        "[3/4] one@b, about N left", "[4/4] two, about N left", REPORT,
    ]  # fmt: skip


def test_another_model_is_one_word(project: Path) -> None:
    """Protects params.yaml, of which one word changes, and its reader, who is told what there is."""
    path = project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    wrong = run(project, "tools.run", "--model", "embeded")
    assert wrong.returncode == 1 and path.read_text(encoding="utf-8") == before
    assert wrong.stderr.startswith("error: params.yaml has no 'models.embeded': add it, or use one of embedded, ")
    done = run(project, "tools.run", "--model", "embedded-transformer")
    assert "The report: reports/embedded-transformer/brief.pdf" in done.stdout, done.stderr
    after = path.read_text(encoding="utf-8")
    assert after == before.replace("\nmodel: embedded\n", "\nmodel: embedded-transformer\n") != before


def test_dvc_lock_is_the_text_that_dvc_writes() -> None:
    """Protects from a dvc.lock that every `dvc repro` would write anew: only changed entries are put into words."""
    text, entries = (PROJECT / "dvc.lock").read_text(encoding="utf-8"), {}
    assert lock_text(YAML(typ="safe").load(text), entries) == text
    changed = YAML(typ="safe").load(text)
    changed["stages"]["report"]["cmd"] += " --much " + "longer " * 30
    changed["stages"]["new"] = {"cmd": "true", "deps": [{"path": "a: b", "size": 3}], "params": {"x.yaml": {"k": None}}}
    assert lock_text(changed, entries) == dumps_yaml(changed) != text


def test_the_rest_is_scaled_by_what_was_measured() -> None:
    """Protects the estimate on another machine: each kind of stage has its own factor, others that of all."""
    last = {"generate@a": 60.0, "generate@b": 120.0, "evaluate@a": 12.0, "download": 0.5, "report": 24.0}
    assert time_left(last, last, {}) == 216.5
    assert time_left(["generate@b"], last, {"generate@a": 300.0}) == 120 * 3
    assert time_left(["generate@b", "report"], last, {"generate@a": 300.0, "evaluate@a": 36.0}) == 120 * 3 + 24 * 3
    assert time_left(["generate@b"], last, {"download": 3.5}) < 120 * 1.1  # seconds tell little
    assert time_left(["generate@new"], last, {}) == 90 and time_left(["unknown"], last, {}) == 0
    assert [in_words(seconds) for seconds in (1, 44, 119, 150, 3600)] == ["10 s", "40 s", "120 s", "2 min", "60 min"]


def test_the_lock_file_is_never_open_for_writing_and_stays_when_nothing_changes(project: Path) -> None:
    """Protects the ledger from a kill at any moment; DVC alone opens it, in every run, for a stage that always runs."""
    (project / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    assert run(project).stderr == ""
    before = (project / "dvc.lock").stat()
    assert run(project).stderr == ""
    after = (project / "dvc.lock").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    words = ["dvc", "repro"]
    plain = subprocess.run(words, cwd=project, env=environment(project), capture_output=True, text=True, check=True)
    assert "dvc.lock was opened for writing" in plain.stderr
    assert set(json.loads(subprocess.run(
        ["dvc", "status", "--json"], cwd=project, env=environment(project), capture_output=True, text=True, check=True
    ).stdout)) == {"always"}  # fmt: skip


@pytest.mark.parametrize("damage", ["empty", "cut", "conflict"])
def test_a_damaged_lock_file_is_one_message_and_its_remedy_loses_nothing(project: Path, damage: str) -> None:
    run(project)
    path = project / "dvc.lock"
    text = path.read_text(encoding="utf-8")
    half = text[: text.index("md5", len(text) // 2) + 2]
    ours = f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n"
    path.write_text({"empty": "", "cut": half, "conflict": ours}[damage], encoding="utf-8")
    for module in (["tools.run"], ["stages.verify"], ["stages.trace", "fp16", "ssim"]):
        done = run(project, *module)
        assert done.returncode == 1, done.stdout
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert "dvc.lock" in done.stderr and "Nothing else is lost: run `git checkout HEAD -- " in done.stderr
    path.unlink()
    assert run(project).stdout.splitlines() == ["[1/4] always", REPORT], "all else comes from the run cache"
    assert path.read_text(encoding="utf-8") == text


def test_a_stage_that_fails_has_the_word(project: Path) -> None:
    """Protects the stage's own message from being buried."""
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat one-a.txt", "echo full >&2; false"), encoding="utf-8")
    done = run(project)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "full",
        "error: failed to reproduce 'two', see above; the same command goes on from there",
    ]


def test_a_killed_run_leaves_no_process_and_the_next_one_clears_up(project: Path) -> None:
    """Protects timings from the stage of a run whose `dvc` alone was killed; meanwhile no second run begins."""
    (project / "wait.py").write_text(WAIT, encoding="utf-8")
    waiting = PIPELINE.replace("cat one-a.txt one-b.txt > two.txt", "python wait.py")
    (project / "dvc.yaml").write_text(waiting, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.run"], cwd=project, env=environment(project), stdout=subprocess.DEVNULL
    )
    wait_until(lambda: (project / "started").is_file() and (project / "started").read_text(), "the stage")
    started = [int(number) for number in (project / "started").read_text(encoding="utf-8").split()]
    assert len(started) == 2 and not any(is_gone(number) for number in started)
    second = run(project)
    assert second.returncode == 1
    assert re.fullmatch(rf"error: another run of this project is going on \(process {process.pid}\).*\n", second.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: all(is_gone(number) for number in started), "the end of the stage and of what it started")
    half = ("data/.half.1.partial", ".dvc.lock.1.partial", ".dvc/tmp/run/temporary/litter")
    litter = [project / name for name in half]
    if Path("/dev/shm").is_dir():
        litter.append(Path(f"/dev/shm/sem.stages-{started[0]}-abc"))
        litter[-1].touch()
    assert all(path.exists() for path in litter)
    (project / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.splitlines()[-2:] == ["[4/4] two", REPORT]
    assert not any(path.exists() for path in litter)


def test_a_half_written_list_of_dvc_is_no_obstacle(project: Path) -> None:
    """Protects from "RWLock-file: JSON structure is corrupted" after a kill."""
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").write_text('{"write": {"two.txt": {"pid": 4194305, "cmd', encoding="utf-8")
    assert run(project).returncode == 0
