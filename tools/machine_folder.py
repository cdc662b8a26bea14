"""This machine's folder in reports/machines, as stages.lib.results.machines reads it: written whole."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, rounded, whole_folder, write_json
from stages.lib.results.machines import FILES
from tools.machine_plan import Plan


@dataclass(frozen=True)
class MachineFolder:
    """The folder `path`; `environment` is what stages.environment says of this machine."""

    path: Path
    environment: dict[str, Any]

    @classmethod
    def open(cls, output: Path, environment: dict[str, Any]) -> "MachineFolder":
        """The folder of this machine in `output`, made if it is not there. Another machine's is a UserError."""
        folder = cls(output / environment["fingerprint"], rounded(environment))
        stored = folder.path / "environment.json"
        if folder.path.exists() and not (stored.is_file() and read_json(stored) == folder.environment):
            raise UserError(f"{folder.path} is not of this machine: move it away, or give another --output")
        write_json(stored, folder.environment)
        return folder

    def ask(self, model: str, variants: list[str]) -> None:
        """Remember what is to be measured, besides what was asked for earlier."""
        asked = self._asked()
        known = asked["models"].get(model, [])
        asked["models"][model] = [*known, *(name for name in variants if name not in known)]
        write_json(self.path / "asked.json", asked)

    def has(self, plan: Plan, variant: str) -> bool:
        """Whether the results of that variant are there, whole, of the same code, weights and settings.

        Without Git the code cannot be told: it counts as the same.
        """
        folder = self.path / plan.model / variant
        if not all((folder / f"{name}.json").is_file() for name in FILES):
            return False
        timing = read_json(folder / "timing.json")
        batches = {batch["batch_size"] for batch in timing.get("batches", ())}
        if timing.get("measured") and not batches.issuperset(plan.params.benchmark.batch_sizes):
            return False
        stored = read_json(folder / "origin.json")
        return {key: stored.get(key) for key in plan.origin(variant)} == plan.origin(variant) and not _changed_since(
            stored.get("commit")
        )

    def keep(self, plan: Plan, variant: str, project: Path) -> None:
        """Take over what the stages wrote in the folder `project`; earlier results of this machine go."""
        with whole_folder(self.path / plan.model / variant) as folder:
            for name in FILES[:-1]:
                write_json(
                    folder / f"{name}.json", read_json(project / "reports" / plan.model / name / f"{variant}.json")
                )
            write_json(folder / "origin.json", {**plan.origin(variant), "commit": _commit()})
        self._note(plan.model, variant, None)

    def fail(self, model: str, variant: str, reason: str) -> None:
        """Remember why a variant could not be measured."""
        self._note(model, variant, reason)

    def _note(self, model: str, variant: str, reason: str | None) -> None:
        asked = self._asked()
        failed = asked["failed"].get(model, {})
        failed.pop(variant, None)
        asked["failed"][model] = failed | ({variant: reason} if reason else {})
        write_json(self.path / "asked.json", asked)

    def _asked(self) -> dict[str, dict[str, Any]]:
        path = self.path / "asked.json"
        return read_json(path) if path.is_file() else {"models": {}, "failed": {}}


def _commit() -> str | None:
    """The commit of this checkout, or None where there is no Git."""
    done = _git("rev-parse", "HEAD")
    return done.stdout.strip() if done and done.returncode == 0 else None


def _changed_since(commit: str | None) -> bool:
    """Whether this checkout's code is another than that of the commit, or the commit is unknown here."""
    if commit is None or _commit() is None:
        return False
    return _git("diff", "--quiet", commit, "--", "stages", "requirements.txt").returncode != 0


def _git(*arguments: str) -> subprocess.CompletedProcess | None:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
