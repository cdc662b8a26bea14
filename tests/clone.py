"""A user's clone of the project, set to a tiny model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.command import without_pytest
from tests.conftest import PROJECT
from tests.processes import HANGING_S

yaml = YAML()
ALWAYS = {"environment", "source", "compare"}
# The back end `torch` once more, as one that needs a package which nobody has.
INVENTED = '    "invented": Backend("stages.lib.formats.invented.backend", 1.6),\n'
INVENTED_OPTIONS = """\
from typing import ClassVar, Literal

from stages.lib.formats.torch import options


class Options(options.Options):
    packages: ClassVar[tuple[str, ...]] = ("invented-package",)
    backend: Literal["invented"]
"""


class Clone:
    """A user's clone of the project, whose `python` is that one."""

    def __init__(self, folder: Path, python: str = sys.executable):
        self.folder = folder
        programs = [str(Path(found).parent) for found in (python, sys.executable)]
        self.environment = {
            **without_pytest(os.environ),
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
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

    def make(self) -> set[str]:
        """The stages that `make report` runs, which is quicker than `dvc repro`, those aside that always run."""
        return set(re.findall(r"^\[\d+/\d+\] ([^\s,]+)", self.run("python", "-m", "tools.run"), re.MULTILINE)) - ALWAYS

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
        """Every file of the first model's results but the times of stages, and its images."""
        files = [path for path in sorted((self.folder / "reports/local").rglob("*")) if path.is_file()]
        return self.images() | {str(path): path.read_bytes() for path in files if path.name != "stage_times.json"}

    def json(self, name: str):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def make_clone(folder: Path, tiny_model: Path, python: str = sys.executable) -> Clone:
    """The project's tracked files, committed in a new repository, set to the tiny model."""
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
    params["benchmark"].update({"restarts": 1, "limit_s": 1})
    params["calibration"].update({"images": 1, "denoiser_calls": 3})
    params["quality"].update({"floor_prompts": 1, "floor_seeds": 3, "trajectory_prompts": 1, "resamples": 200})
    params["report"]["languages"] = ["en"]
    params["sensitivity"].update({"images": 1, "formats": {"int8": params["sensitivity"]["formats"]["int8"]}})
    yaml.dump(params, folder / "params.yaml")
    clone = Clone(folder, python)
    clone.edit("stages/lib/formats/__init__.py", "BACKENDS = {\n", f"BACKENDS = {{\n{INVENTED}")
    pipeline = (folder / "dvc.yaml").read_text(encoding="utf-8")
    in_english = re.sub(r"(?m)^ *- .*\.ru\..*\n| \S+\.ru\.\w+", "", pipeline)
    (folder / "dvc.yaml").write_text(in_english, encoding="utf-8")
    (folder / "stages/lib/formats/invented").mkdir()
    package = folder / "stages/lib/formats/invented"
    (package / "backend.py").write_text("from stages.lib.formats.torch.backend import inventory, load, quantize\n")
    (package / "options.py").write_text(INVENTED_OPTIONS, encoding="utf-8")
    (package / "__init__.py").touch()
    clone.run("git", "init", "--quiet")
    clone.run("git", "add", "--all")
    clone.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "start")
    return clone
