"""Every table, figure, chart and metric has a source, and that source is a file of a stage that writes it."""

import json
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.lib.project import lineage
from stages.lib.project.errors import UserError
from stages.lib.project.lock_file import digest, read_lock
from stages.lib.quality.metrics import METRIC_SOURCES
from stages.lib.reporting import outline
from stages.lib.results.tracing import find
from tests.any_input import within_limits
from tests.conftest import PROJECT

MODEL = "embedded"
WITHOUT = {"table-lineage", "table-lineage-files"}  # they are made of all others


def test_each_table_figure_and_chart_has_a_source():
    """A new one needs an entry in stages/lib/project/lineage.py."""
    numbered = set(outline.numbers(str, True))
    assert numbered - WITHOUT - set(lineage.SOURCES) == set()


def test_each_source_is_written_by_its_stage_or_by_hand():
    with Repo(str(PROJECT)) as repo:
        outs = {
            out.fs_path.removeprefix(f"{PROJECT}/"): stage.addressing
            for stage in repo.index.stages
            for out in stage.outs
        }
    for sources in lineage.SOURCES.values():
        for source in sources:
            here = source.of(MODEL, "fp32")
            writers = {outs[path] for path in (here.file, str(Path(here.file).parent)) if path in outs}
            assert writers == ({here.stage} if here.stage else set()), source
            assert here.stage or (PROJECT / here.file).exists()


def test_each_metric_is_where_its_source_says():
    if not {"evaluate", "summarize"} <= read_lock(PROJECT / "dvc.lock").keys():
        pytest.skip("the project has not been measured since its stages changed")
    for key, (source, path) in METRIC_SOURCES.items():
        file = PROJECT / source.of(MODEL, "fp16").file
        if not file.is_file():
            pytest.skip("the project has not been measured")
        content = json.loads(file.read_text(encoding="utf-8"))
        assert find(content, path.replace(".V.", ".fp16."), str(file))[0], key


def test_a_lock_file_that_would_fill_the_memory_is_damaged(tmp_path):
    """Protects the machine from eleven lines of merge keys that stand for 60^10 entries."""
    lines = ["schema: '2.0'", "a0: &a0 {b: c}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 60)}]}}" for n in range(1, 11)]
    path = tmp_path / "dvc.lock"
    path.write_text("\n".join([*lines, "stages: {}", ""]), encoding="utf-8")
    with within_limits(), pytest.raises(UserError, match="is damaged"):
        read_lock(path)


def test_a_command_may_be_a_list(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_text("schema: '2.0'\nstages:\n  one:\n    cmd: [echo 1, echo 2]\n", encoding="utf-8")
    assert read_lock(path)["one"].command == "echo 1 && echo 2"


def test_digests_are_those_that_md5sum_prints(tmp_path):
    (tmp_path / "embedded/size").mkdir(parents=True)
    (tmp_path / "embedded/size/fp32.json").write_text("hello\n")
    found = lineage.digests(tmp_path, MODEL, ["fp32"])
    assert found["reports/embedded/size/fp32.json"] == "b1946ac92492d2347c6235b4d2611184"
    assert found["reports/embedded/floor.json"] is None


def test_the_committed_files_have_the_hashes_of_the_committed_lock_file(tmp_path):
    """Protects the chain of the published report: nothing in reports/ was changed by hand."""
    names = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD", "reports", "dvc.lock"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    if "dvc.lock" not in names:
        pytest.skip("no dvc.lock at HEAD: this is not a clone of the project with its results")
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "dvc.lock"], cwd=PROJECT, check=False).returncode:
        pytest.skip("dvc.lock differs from HEAD: a run is under way")
    for name in names:
        content = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=PROJECT, capture_output=True, check=True).stdout
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    outs = {path: md5 for stage in read_lock(tmp_path / "dvc.lock").values() for path, md5 in stage.outs.items()}
    committed = {path: md5 for path, md5 in outs.items() if (tmp_path / path).exists()}
    assert len(committed) > 40
    for path, md5 in committed.items():
        assert digest(tmp_path / path) == md5, path
