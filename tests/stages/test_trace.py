"""Trace: from a figure to hashes; a changed file, a stale input and a misspelt word are named."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from stages.lib.project.lock_file import digest, read_lock
from tests.command import run
from tests.conftest import PROJECT
from tests.tiny_project import edit_json, write_json, write_settings

QUALITY = {"ssim": 0.9, "averages": {"ms_ssim": {"mean": 0.95}}, "per_image": [{"id": "cat", "ssim": 0.8}]}
TIMING = {"load_time_s": 1.5, "fingerprint": "ffffffffffff", "components": [{"component": "unet", "median": 1.2}]}

ROOM = "stages/lib/quality"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_lock(folder: Path, seen_by_evaluate: str) -> None:
    """A lock file of two stages: `generate` drew the images that `evaluate` read as `seen_by_evaluate`."""
    deps = [
        {"path": "data/runs/tiny/images/bf16", "hash": "md5", "md5": seen_by_evaluate},
        {"path": ROOM, "hash": "md5", "md5": digest(folder / ROOM)},
    ]
    quality, timing = "reports/tiny/quality", "reports/tiny/timing/bf16.json"
    stages = {
        "generate@bf16": {
            "cmd": "python -m stages.generate --variant bf16",
            "deps": [{"path": "data/prompts.csv", "hash": "md5", "md5": md5(folder / "data/prompts.csv")}],
            "outs": [{"path": "data/runs/tiny/images/bf16", "hash": "md5", "md5": "abcd" * 8 + ".dir"}],
        },
        "evaluate": {
            "cmd": "python -m stages.evaluate --images data/runs/tiny/images",
            "deps": deps,
            "params": {"params.yaml": {"quality": {"seed": 7}}},
            "outs": [{"path": quality, "hash": "md5", "md5": digest(folder / quality)}],
        },
        "benchmark@bf16": {
            "cmd": "python -m stages.benchmark --variant bf16",
            "outs": [{"path": timing, "hash": "md5", "md5": md5(folder / timing)}],
        },
    }
    text = json.dumps({"schema": "2.0", "stages": stages}) + "\n"  # JSON is YAML
    (folder / "dvc.lock").write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write_settings(folder)
    for kind, content in (("size", {"disk_mib": 3.0}), ("timing", TIMING), ("quality", QUALITY), ("appearance", {})):
        write_json(folder / f"reports/tiny/{kind}/bf16.json", content)
    (folder / ROOM).mkdir(parents=True)
    (folder / ROOM / "metrics.py").write_text("one = 1\n", encoding="utf-8")
    write_lock(folder, "abcd" * 8 + ".dir")
    return folder


def test_the_chain_leads_from_the_figure_to_what_no_stage_made(project):
    done = run(project, "stages.trace", "bf16", "ssim")
    assert done.returncode == 0, done.stderr
    for words in (
        "ssim = 0.9",
        "reports/tiny/quality/bf16.json",
        f"{digest(project / 'reports/tiny/quality')} of reports/tiny/quality, as in dvc.lock",
        "python -m stages.evaluate --images data/runs/tiny/images",
        'params.yaml: quality = {"seed": 7}',
        "data/runs/tiny/images/bf16 (made by generate@bf16)",
        f"{digest(project / ROOM)}  {ROOM} (made by no stage)\n",
        "python -m stages.generate --variant bf16",
        f"{md5(project / 'data/prompts.csv')}  data/prompts.csv (made by no stage)",
        "machine   0123456789ab",
    ):
        assert words in done.stdout, f"{words} is not in\n{done.stdout}"


def test_a_figure_within_averages_rows_and_tables_is_found(project):
    assert "averages.ms_ssim.mean = 0.95" in run(project, "stages.trace", "bf16", "ms_ssim").stdout
    assert "per_image.cat.ssim = 0.8" in run(project, "stages.trace", "bf16", "cat.ssim").stdout
    assert "components.unet.median = 1.2" in run(project, "stages.trace", "split", "bf16", "unet.median").stdout


def test_a_timing_of_another_machine_says_so(project):
    assert (
        "ffffffffffff, another one than that of reports" in run(project, "stages.trace", "bf16", "load_time_s").stdout
    )


def test_a_changed_file_is_told_and_the_exit_code_says_so(project):
    edit_json(project / "reports/tiny/quality/bf16.json", ssim=0.99)
    done = run(project, "stages.trace", "bf16", "ssim")
    assert done.returncode == 1
    assert "changed after it was measured; run `dvc repro evaluate`" in done.stdout


def test_changed_code_is_told(project):
    (project / ROOM / "metrics.py").write_text("two = 3\n", encoding="utf-8")
    assert f"{ROOM} (made by no stage, now another: run `dvc repro evaluate`" in (
        run(project, "stages.trace", "bf16", "ssim").stdout
    )


def test_a_folder_has_the_hash_that_dvc_gives_it(project):
    """Protects the word that code has changed."""
    from dvc.repo import Repo

    (project / ROOM / "__pycache__").mkdir()
    (project / ROOM / "__pycache__/metrics.pyc").write_bytes(b"")
    (project / ROOM / "deeper").mkdir()
    (project / ROOM / "deeper/z.txt").write_text("é", encoding="utf-8")
    (project / ".dvcignore").write_text("__pycache__\n", encoding="utf-8")
    repo = Repo.init(str(project), no_scm=True)
    (stage,) = repo.add(str(project / ROOM))
    assert digest(project / ROOM) == stage.outs[0].hash_info.value


def test_an_input_that_was_made_anew_since_is_told(project):
    write_lock(project, "beef" * 8 + ".dir")
    done = run(project, "stages.trace", "bf16", "ssim")
    assert done.returncode == 1
    assert f"which has made {'abcd' * 8}.dir since: run `dvc repro evaluate`" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bf61", "ssim"), "did you mean bf16"),
        (("bf16", "ssmi"), "did you mean ssim"),
        (("qualty", "bf16", "ssim"), "did you mean table-quality"),
        (("sizes", "bf16", "ssim"), "no figure 'ssim' in reports/tiny/size/bf16.json"),
        (("a", "b", "c", "d"), "see --help"),
        (("nothing",), "is no table, figure or chart"),
    ],
)
def test_a_wrong_word_lists_the_closest(project, words, says):
    done = run(project, "stages.trace", *words)
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_table_alone_lists_its_files(project):
    lines = run(project, "stages.trace", "table-performance").stdout.splitlines()
    assert any("benchmark@bf16" in line and "reports/tiny/timing/bf16.json" in line for line in lines)
    assert any(line.startswith("summarize") for line in lines)


def test_the_published_figures_can_be_traced():
    """On this repository's own lock file and reports, for a figure of each kind of file."""
    if not (PROJECT / "dvc.lock").is_file() or not (PROJECT / "reports/embedded/size/fp16.json").is_file():
        pytest.skip("the project has not been measured")
    if "evaluate" not in read_lock(PROJECT / "dvc.lock"):
        pytest.skip("the project has not been measured since its stages changed")
    for words in (("fp16", "disk_mib"), ("fp16", "latency_s"), ("fp16", "ssim"), ("fp16", "compression")):
        done = run(PROJECT, "stages.trace", *words)
        assert "as in dvc.lock" in done.stdout and "stage     download" in done.stdout, done.stdout + done.stderr
    summary = json.loads((PROJECT / "reports/embedded/summary.json").read_text(encoding="utf-8"))
    value = next(row["ssim"] for row in summary["variants"] if row["variant"] == "fp16")
    assert f"ssim = {value}" in run(PROJECT, "stages.trace", "fp16", "ssim").stdout


def test_a_project_without_a_lock_file_says_what_to_do(project):
    (project / "dvc.lock").unlink()
    assert "dvc.lock is missing: run `dvc repro`" in run(project, "stages.trace", "bf16", "ssim").stderr


def test_the_project_is_not_needed_at_a_certain_place(project, tmp_path):
    moved = shutil.move(project, tmp_path / "elsewhere")
    assert run(Path(moved), "stages.trace", "bf16", "ssim").returncode == 0
