"""The pipeline as a user runs it: `dvc repro` in a clone, on a tiny model, with a few prompts and two variants."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.command import without_pytest
from tests.conftest import PROJECT
from tests.processes import HANGING_S, wait_until

yaml = YAML()
ALWAYS = {"environment", "source"}
# The back end `torch` once more, as one that needs a package which nobody has.
INVENTED = '    "invented": Backend("stages.lib.formats.invented.backend", 1.6),\n'
INVENTED_OPTIONS = """\
from typing import ClassVar, Literal

from stages.lib.formats.torch import options


class Options(options.Options):
    packages: ClassVar[tuple[str, ...]] = ("invented-package",)
    backend: Literal["invented"]
"""
# Stops a process for ever that is about to write its second image of int8-cpu, and makes the folder $STOPPED.
STOP = """
import os, signal, sys
written = []
def stop(event, arguments):
    if event == "open" and "/.int8-cpu." in str(arguments[0]) and str(arguments[0]).endswith(".png"):
        written.append(arguments[0])
        if len(written) == 2:
            os.mkdir(os.environ["STOPPED"])
            signal.pause()
sys.addaudithook(stop)
"""


class Clone:
    """A user's clone of the project."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **without_pytest(os.environ),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: str, fails: bool = False) -> str:
        """What the command prints. It must succeed, or fail without a traceback where `fails` is set."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=5 * HANGING_S,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        assert "Traceback" not in output, output
        return output

    def repro(self, fails: bool = False) -> str:
        return self.run("dvc", "repro", fails=fails)

    def ran(self) -> set[str]:
        """The stages that `dvc repro` runs, those aside that always run."""
        output = self.repro()
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")} - ALWAYS

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def images(self) -> dict[str, bytes]:
        folder = self.folder / "data/runs/local/images"
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}

    def results(self) -> dict[str, bytes]:
        """Every file of the first model's results, and its images."""
        folder = self.folder / "reports/local"
        return self.images() | {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    def json(self, name: str):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Clone:
    """The project's tracked files, committed in a new repository, set to the tiny model, and run once."""
    folder = tmp_path_factory.mktemp("clone")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    for name in tracked.stdout.splitlines():
        if not name.startswith(("reports/", "data/embedded/", "tests/", "dvc.lock")) and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    (folder / "reports/machines").mkdir(parents=True)
    shutil.copy2(PROJECT / "reports/machines/README.md", folder / "reports/machines")
    shutil.copytree(tiny_model, folder / "data/local")
    params = yaml.load(folder / "params.yaml")
    params["model"] = "local"
    params["variants"] = {key: params["variants"][key] for key in ("fp32", "int8-cpu", "int8-simulated")}
    params["variants"]["int8-cpu"]["label"] = "Removable"
    params["prompts"]["sets"] = ["study"]
    params["generation"]["steps"] = 2
    params["benchmark"].update({"warmup": 0, "repeats": 2})
    params["calibration"].update({"images": 1, "denoiser_calls": 3})
    params["quality"].update({"floor_prompts": 1, "floor_seeds": 3, "trajectory_prompts": 1, "resamples": 200})
    params["report"]["languages"] = ["en"]
    params["sensitivity"].update({"images": 1, "formats": {"int8": params["sensitivity"]["formats"]["int8"]}})
    yaml.dump(params, folder / "params.yaml")
    clone = Clone(folder)
    clone.edit("stages/lib/formats/__init__.py", "BACKENDS = {\n", f"BACKENDS = {{\n{INVENTED}")
    for kind in ("html", "pdf"):
        clone.edit("dvc.yaml", f".{kind} reports/${{model}}/report.ru.{kind}\n", f".{kind}\n")
    clone.edit("dvc.yaml", "      - reports/${model}/report.ru.html\n", "")
    clone.edit("dvc.yaml", "      - reports/${model}/report.ru.pdf: {cache: false}\n", "")
    (folder / "stages/lib/formats/invented").mkdir()
    package = folder / "stages/lib/formats/invented"
    (package / "backend.py").write_text("from stages.lib.formats.torch.backend import inventory, load, quantize\n")
    (package / "options.py").write_text(INVENTED_OPTIONS, encoding="utf-8")
    (package / "__init__.py").touch()
    clone.run("git", "init", "--quiet")
    clone.run("git", "add", "--all")
    clone.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "start")
    clone.first_run = clone.run("python", "-m", "tools.run")
    return clone


@pytest.fixture
def restored(clone: Clone):
    """The clone, whose edits to params.yaml and templates are undone after the test."""
    saved = {
        name: (clone.folder / name).read_bytes()
        for name in ("params.yaml", "stages/lib/reporting/templates/report.html.j2")
    }
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


def test_a_quick_look_has_a_folder_of_its_own(clone):
    """Protects the results of the full run, which are neither read nor touched."""
    before = clone.results()
    clone.run("python", "-m", "tools.run", "--quick")
    assert (clone.folder / ".quick/reports/local/report.pdf").read_bytes().startswith(b"%PDF")
    assert clone.results() == before
    assert clone.run("git", "status", "--short", ".quick") == ""


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
    restored.repro()
    template = restored.folder / "stages/lib/reporting/templates/report.html.j2"
    template.write_text(template.read_text(encoding="utf-8") + "{# edited #}\n", encoding="utf-8")
    assert restored.ran() == {"report"}


def test_a_removed_variant_leaves_the_report(restored):
    params = yaml.load(restored.folder / "params.yaml")
    del params["variants"]["int8-cpu"]
    yaml.dump(params, restored.folder / "params.yaml")
    assert restored.ran() == {"evaluate", "summarize", "report"}
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
    restored.repro()
    lock = (restored.folder / "dvc.lock").read_bytes()
    restored.environment["OMP_NUM_THREADS"] = "2"
    try:
        assert restored.ran() == {
            "benchmark@fp32", "benchmark@int8-cpu", "benchmark@int8-simulated", "summarize", "report",
        }  # fmt: skip
    finally:
        restored.environment["OMP_NUM_THREADS"] = "1"
        (restored.folder / "dvc.lock").write_bytes(lock)


def test_a_missing_package_is_a_row_and_installing_it_runs_just_its_variant(restored):
    """One format that cannot run here does not stop the others; later nothing but it is made."""
    restored.repro()
    params, installed = yaml.load(restored.folder / "params.yaml"), restored.folder / "invented_package-1.0.dist-info"
    params["variants"]["later"] = {"label": "Later", "backend": "invented", "weights": "float16"}
    yaml.dump(params, restored.folder / "params.yaml")
    own = {f"{stage}@later" for stage in ("quantize", "generate", "benchmark")}
    own |= {"evaluate", "summarize", "report"}
    assert restored.ran() == own
    report, reason = restored.folder / "reports/local/report.html", "invented-package: not installed: pip install"
    assert reason in report.read_text(encoding="utf-8") and len(restored.images()) == 9
    assert not (restored.folder / "reports/local/metrics/later.json").exists()
    assert restored.ran() == set()
    installed.mkdir()
    try:
        (installed / "METADATA").write_text("Name: invented-package\nVersion: 1.0\n", encoding="utf-8")
        assert restored.ran() == own
    finally:
        shutil.rmtree(installed)
    assert reason not in report.read_text(encoding="utf-8") and len(restored.images()) == 12
    assert "latency_s" in restored.json("reports/local/metrics/later.json")


def test_a_killed_run_goes_on_and_gives_the_same_images(restored, tmp_path):
    restored.repro()
    before = restored.images()
    shutil.rmtree(restored.folder / "data/runs/local/images/int8-cpu")
    shutil.rmtree(restored.folder / ".dvc/cache")
    shutil.rmtree(restored.folder / "data/runs/local/models/int8-cpu")
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
    restored.repro()
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
    restored.repro()
    module = restored.folder / "stages/lib/formats/torch_dynamic/backend.py"
    saved = module.read_bytes()
    module.write_bytes(saved + b"# edited\n")
    try:
        own = {"quantize@int8-cpu", "generate@int8-cpu", "benchmark@int8-cpu"}
        assert restored.ran() == own | {"summarize", "report"}
    finally:
        module.write_bytes(saved)


def test_another_model_overwrites_nothing_and_the_way_back_makes_nothing(restored):
    """Protects the results of one model from those of another; on the way back the run cache has everything."""
    restored.repro()
    shutil.copytree(restored.folder / "data/local", restored.folder / "data/other")
    before = restored.results()
    params = yaml.load(restored.folder / "params.yaml")
    params["models"]["other"] = {"label": "Other model", "source": "folder", "path": "data/other"}
    params["model"] = "other"
    yaml.dump(params, restored.folder / "params.yaml")
    assert {"download", "generate@fp32", "benchmark@fp32", "evaluate", "floor", "report"} <= restored.ran()
    assert "Other model" in (restored.folder / "reports/other/report.html").read_text(encoding="utf-8")
    assert restored.results() == before
    params["model"] = "local"
    yaml.dump(params, restored.folder / "params.yaml")
    assert restored.ran() == set()
    assert restored.results() == before
