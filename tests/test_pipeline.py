"""The pipeline as a user runs it: `dvc repro` in a clone, on a tiny model, with a few prompts and two variants."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.clone import ALWAYS, Clone, make_clone, yaml
from tests.processes import wait_until
from tests.stages.test_report import Text
from tests.tiny_models import ARGUMENTS
from tests.warm_python import warm_python

KIND = "sd3-without-t5"
TEMPLATE = "stages/lib/reporting/templates/report.html.j2"
OTHER_CHAPTERS = re.compile(rb'{% include "partials/(?!title|size).*\n')
# Stops a process for ever that is about to write its second image of int8-cpu, and makes the folder $STOPPED.
STOP = """
import os, signal, sys
written = []
def stop(event, arguments):
    if event == "open" and "/.int8-cpu." in str(arguments[0]) and ".png." in str(arguments[0]):
        written.append(arguments[0])
        if len(written) == 2:
            os.mkdir(os.environ["STOPPED"])
            signal.pause()
sys.addaudithook(stop)
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Clone:
    """A clone that was run once."""
    clone = make_clone(tmp_path_factory.mktemp("clone"), tiny_model, warm_python())
    clone.first_run = clone.run("python", "-m", "tools.run")
    return clone


@pytest.fixture
def restored(clone: Clone):
    """The clone, whose edits to params.yaml and templates are undone after the test.

    Meanwhile its report has a title page and one chapter, which are laid out in a tenth of the time.
    """
    saved = {name: (clone.folder / name).read_bytes() for name in ("params.yaml", TEMPLATE)}
    (clone.folder / TEMPLATE).write_bytes(OTHER_CHAPTERS.sub(b"", saved[TEMPLATE]))
    yield clone
    for name, data in saved.items():
        (clone.folder / name).write_bytes(data)


def test_one_command_gives_the_report(clone):
    assert (clone.folder / "reports/local/report.pdf").read_bytes().startswith(b"%PDF")
    assert "</html>" in (clone.folder / "reports/local/report.html").read_text(encoding="utf-8")
    assert len(clone.images()) == 9


def test_a_first_run_says_what_it_does_and_nothing_else(clone):
    """Protects the reader of a terminal or of a log: a line as each stage begins, its own, and no library's."""
    # The prompts are too long for the tiny model, which is told.
    lines = [line for line in clone.first_run.splitlines() if not ("CLIP can" in line or "maximum sequence" in line)]
    stages = {line.partition("] ")[2].partition("@")[0] for line in lines if line.startswith("[")}
    assert stages >= {"environment", "noise", "quantize", "benchmark", "report"}
    others = [line for line in lines if not line.startswith(("[", "The report: "))]
    assert all(line.partition(":")[0] in stages | {"sensitivity"} for line in others), others


def test_a_quick_look_has_a_folder_of_its_own(restored):
    """Protects the results of the full run, which are neither read nor touched."""
    before = restored.results()
    restored.run("python", "-m", "tools.run", "--quick")
    assert (restored.folder / ".quick/reports/local/report.pdf").read_bytes().startswith(b"%PDF")
    assert restored.results() == before
    assert restored.run("git", "status", "--short", ".quick") == ""


def test_a_second_run_runs_nothing(clone):
    assert clone.ran() == set()


def test_the_figures_follow_from_the_images_and_every_control_is_caught(clone):
    assert "every quality figure is the same" in clone.run("python", "-m", "stages.verify")
    assert all(control["caught"] for control in clone.json("reports/local/controls.json")["controls"])


def test_metrics_are_one_row_a_variant(clone):
    rows = clone.run("dvc", "metrics", "show").splitlines()
    assert len(rows) == 4
    assert {row.split()[0] for row in rows[1:]} == {
        f"reports/local/metrics/{variant}.json" for variant in ("fp32", "int8-cpu", "int8-simulated")
    }


def test_the_lock_file_agrees_with_the_files(clone):
    status = json.loads(clone.run("dvc", "status", "--json"))
    assert set(status) <= ALWAYS, status


def test_editing_one_variant_reruns_only_it(restored):
    before = restored.images()
    restored.edit("params.yaml", "granularity: channel", "granularity: tensor")
    assert restored.ran() == {
        "quantize@int8-simulated", "generate@int8-simulated", "benchmark@int8-simulated", "evaluate", "summarize",
        "report",
    }  # fmt: skip
    after = restored.images()
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"int8-simulated"}


def test_editing_a_template_reruns_only_the_report(restored):
    restored.make()
    template = restored.folder / TEMPLATE
    template.write_text(template.read_text(encoding="utf-8") + "{# edited #}\n", encoding="utf-8")
    assert restored.make() == {"report"}


def test_a_removed_variant_leaves_the_report(restored):
    params = yaml.load(restored.folder / "params.yaml")
    del params["variants"]["int8-cpu"]
    yaml.dump(params, restored.folder / "params.yaml")
    assert restored.make() == {"evaluate", "summarize", "report"}
    assert {row["variant"] for row in restored.json("reports/local/summary.json")["variants"]} == {
        "fp32",
        "int8-simulated",
    }
    assert not (restored.folder / "reports/local/metrics/int8-cpu.json").exists()
    assert "Removable" not in (restored.folder / "reports/local/report.html").read_text(encoding="utf-8")


def test_another_machine_measures_timings_again_and_generates_nothing(restored):
    """Another thread count stands for another machine: the fingerprint changes, the images need not.

    The floor is generated again on another processor only: it has the threads that the stored images were generated
    with.
    """
    restored.make()
    lock = (restored.folder / "dvc.lock").read_bytes()
    restored.environment["OMP_NUM_THREADS"] = "2"
    try:
        assert restored.make() == {
            "benchmark@fp32", "benchmark@int8-cpu", "benchmark@int8-simulated", "summarize", "report",
        }  # fmt: skip
    finally:
        restored.environment["OMP_NUM_THREADS"] = "1"
        (restored.folder / "dvc.lock").write_bytes(lock)


def test_a_second_machine_takes_what_is_shared_and_times_anew(restored, tmp_path):
    """Protects teams: through a DVC remote, here a folder, nothing is generated twice, and no timing is passed on.

    Another thread count stands for another machine.
    """
    restored.make()
    second = Clone(tmp_path / "second", warm_python())
    second.environment["OMP_NUM_THREADS"] = "2"
    for name in restored.run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        (second.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(restored.folder / name, second.folder / name)
    second.run("git", "init", "--quiet")
    for clone in (restored, second):
        clone.run("dvc", "remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    restored.run("dvc", "push")
    restored.run("dvc", "remote", "remove", "--local", "shared")
    second.run("dvc", "pull")
    assert second.images() == restored.images() and len(second.images()) == 9
    assert second.make() == {
        "benchmark@fp32", "benchmark@int8-cpu", "benchmark@int8-simulated", "summarize", "report",
    }  # fmt: skip


def test_a_missing_package_is_a_row_and_installing_it_runs_just_its_variant(restored):
    """One format that cannot run here does not stop the others; later nothing but it is made."""
    restored.make()
    params, installed = yaml.load(restored.folder / "params.yaml"), restored.folder / "invented_package-1.0.dist-info"
    params["variants"]["later"] = {"label": "Later", "backend": "invented", "weights": "float16"}
    yaml.dump(params, restored.folder / "params.yaml")
    own = {f"{stage}@later" for stage in ("quantize", "generate", "benchmark")}
    own |= {"evaluate", "summarize", "report"}
    assert restored.make() == own
    report, reason = restored.folder / "reports/local/report.html", "invented-package: not installed: pip install"
    assert reason in report.read_text(encoding="utf-8") and len(restored.images()) == 9
    assert not (restored.folder / "reports/local/metrics/later.json").exists()
    assert restored.make() == set()
    installed.mkdir()
    try:
        (installed / "METADATA").write_text("Name: invented-package\nVersion: 1.0\n", encoding="utf-8")
        assert restored.make() == own
    finally:
        shutil.rmtree(installed)
    assert reason not in report.read_text(encoding="utf-8") and len(restored.images()) == 12
    assert "latency_s" in restored.json("reports/local/metrics/later.json")


def test_another_model_overwrites_nothing_and_the_way_back_makes_nothing(restored, tiny_kind):
    """Protects the results of one model from those of another; on the way back the run cache has everything.

    The other one is a transformer that follows a flow, with two text encoders and no safety checker: its report
    speaks of these. It comes before the test that throws the cache away.
    """
    restored.run("git", "checkout", "--quiet", TEMPLATE)
    restored.make()
    shutil.copytree(tiny_kind(KIND), restored.folder / "data/other")
    before = restored.results()
    params = yaml.load(restored.folder / "params.yaml")
    source = {"source": "folder", "path": "data/other", "arguments": ARGUMENTS[KIND]}
    params["models"]["other"] = {"label": "Other model", **source}
    params["model"], variants = "other", params["variants"].copy()
    del params["variants"]["int8-cpu"]
    yaml.dump(params, restored.folder / "params.yaml")
    assert {"download", "generate@fp32", "benchmark@fp32", "evaluate", "floor", "report"} <= restored.make()
    pdf = PdfReader(restored.folder / "reports/other/report.pdf")
    printed = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    page = " ".join(Text((restored.folder / "reports/other/report.html").read_text(encoding="utf-8")).words)
    assert "Other model" in printed and "Text encoder 2" in printed
    for words in ("flow-matching", "here: Transformer", "no safety checker", "height ="):
        assert words in page, words
    assert restored.results() == before
    params["model"], params["variants"] = "local", variants
    yaml.dump(params, restored.folder / "params.yaml")
    assert restored.make() == set()
    assert restored.results() == before


def test_a_killed_run_goes_on_and_gives_the_same_images(restored, tmp_path):
    restored.make()
    before = restored.images()
    shutil.rmtree(restored.folder / "data/runs/local/images/int8-cpu")
    shutil.rmtree(restored.folder / ".dvc/cache")
    (tmp_path / "sitecustomize.py").write_text(STOP, encoding="utf-8")
    stopping = restored.environment | {"PYTHONPATH": str(tmp_path), "STOPPED": str(tmp_path / "stopped")}
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=restored.folder, env=stopping, start_new_session=True,
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    wait_until(lambda: (tmp_path / "stopped").exists() or process.poll() is not None, "the second image of int8-cpu")
    assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    images = restored.folder / "data/runs/local/images"
    assert list(images.glob(".int8-cpu.*/*.png"))
    assert not (restored.folder / "data/runs/local/images/int8-cpu").exists()
    restored.make()
    assert restored.images() == before
    assert not list(images.glob(".*"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("baseline: fp32", "baseline: fp23", ["baseline", "fp23", "fp32"]),
        ("model: local", "model: locla", ["model", "locla", "local"]),
        ("steps: 2", "stesp: 2", ["generation.stesp", "steps"]),
        ("granularity: tensor", "granularity: tenser", ["int8-cpu", "granularity", "tenser", "tensor, channel"]),
        ("int8-simulated:", "../x:", ["../x", "folder name"]),
    ],
)
def test_a_mistake_in_params_is_one_clear_message(restored, old, new, says):
    restored.edit("params.yaml", old, new)
    output = restored.run("python", "-m", "stages.lib.project.params", fails=True)
    restored.repro(fails=True)
    for words in says:
        assert words in output, output
    assert not list(restored.folder.rglob("*.partial"))
    assert not (restored.folder / "data/x").exists()


def test_editing_a_back_end_reruns_its_variants_and_what_their_timings_are_in(restored):
    """The images come out the same: nothing is compared again."""
    restored.make()
    module = restored.folder / "stages/lib/formats/torch_dynamic/backend.py"
    saved = module.read_bytes()
    module.write_bytes(saved + b"# edited\n")
    try:
        own = {"quantize@int8-cpu", "generate@int8-cpu", "benchmark@int8-cpu"}
        assert restored.make() == own | {"summarize", "report"}
    finally:
        module.write_bytes(saved)
