"""Run the pipeline, as `make report` does: `python -m tools.run [stage ...]`.

It is `dvc repro` that also says how far it is, refuses to run beside another, clears away what a killed run has left,
and keeps dvc.lock whole.
"""

import argparse
import logging
import os
import pickle
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.lib.project.errors import UserError, limit_reached, run_stage
from stages.lib.project.files import read_json, write_json, write_text
from stages.lib.project.lock_file import read_lock
from stages.lib.project.params import PARAMS_FILE, Params, load_params
from stages.lib.project.parent import RUN_LOCK, end_with_parent
from stages.lib.project.worker_pool import SEMAPHORES
from tools.progress import Progress
from tools.quick import FOLDER, prepare
from tools.warm import WarmProcess

LOCK = Path("dvc.lock")
OWN = Path(".dvc/tmp/run").absolute()  # DVC's own folder, which Git ignores
HALF_WRITTEN = (".*.partial", "data/**/.*.partial", "docs/.*.partial", "reports/**/.*.partial")
PATIENCE_S = 5


def main() -> None:
    """Check, lock, clear, run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", help="only these and what they need; default: all")
    parser.add_argument("--quick", action="store_true", help="a first look in minutes, in a folder of its own")
    parser.add_argument("--model", default="", help="write `model: KEY` into params.yaml first")
    parser.add_argument("--set", choices=("default", "all"), default="all", help="which of `variants`; default: all")
    arguments = parser.parse_args()
    os.environ["VARIANT_SET"] = "all" if arguments.quick else arguments.set  # a quick look has a choice of its own
    warm = WarmProcess() if sys.platform == "linux" else None
    if "MAKELEVEL" in os.environ:  # below make, whose end would otherwise leave this process and its stage behind
        end_with_parent()
    params = load_params()
    with only_run():
        if arguments.model:
            params = with_model(params, arguments.model)
        reports = Path("reports", params.model)
        if arguments.quick:
            os.chdir(prepare(params))
        if LOCK.is_file():
            read_lock(LOCK)
        clear_leftovers()
        repair_dvc()
        reproduce(arguments.stages, reports / "stage_times.json", warm)
    if not arguments.stages:
        where = FOLDER / reports if arguments.quick else reports
        print(f"The report: {where}/brief.pdf (two pages), report.pdf, and report.html for the screen.")


def with_model(params: Params, key: str) -> Params:
    """What params.yaml says once it names that model, which is written into it; a model it lacks is a UserError."""
    if key not in params.models:
        raise UserError(f"{PARAMS_FILE} has no 'models.{key}': add it, or use one of {', '.join(params.models)}")
    path = Path(PARAMS_FILE)
    write_text(path, re.sub(r"(?m)^(model:\s*)[^\s#]+", rf"\g<1>{key}", path.read_text(encoding="utf-8"), count=1))
    return load_params()


@contextmanager
def only_run() -> Iterator[None]:
    """Hold the project's lock, which also tells stages that this process lives; another run is a UserError."""
    import fcntl

    OWN.mkdir(parents=True, exist_ok=True)
    os.environ[RUN_LOCK] = str(OWN / "lock")
    with (OWN / "lock").open("a+", encoding="utf-8") as file:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    file.seek(0)
                    raise UserError(
                        f"another run of this project is going on (process {file.read()}): wait for its end, or stop it"
                    ) from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def clear_leftovers() -> None:
    """Remove what processes left that were killed; from here on temporary files lie where the next run finds them."""
    temporary = OWN / "temporary"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    for path in [path for pattern in HALF_WRITTEN for path in Path().glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in Path("/dev/shm").glob(f"sem.{SEMAPHORES}*"):  # Linux
        if not _lives(path.name.removeprefix(f"sem.{SEMAPHORES}").partition("-")[0]):
            path.unlink()
    # DVC's list of who reads and writes what: it warns of every line of a dead process, and cannot read half a file.
    users = Path(".dvc/tmp/rwlock")
    if users.is_file():
        numbers = re.findall(r'"pid": (\d+)', users.read_text(encoding="utf-8"))
        if not any(map(_lives, numbers)):
            users.unlink()


def _lives(process: str) -> bool:
    """Whether the process of that number has not ended, be it noticed or not."""
    try:
        return psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def repair_dvc() -> None:
    """The one place where DVC is changed: how it writes dvc.lock, and how often it reads the same text.

    dvc.lock is written whole by a rename, and only if an entry has changed.
    DVC 3.67 empties the file and writes it anew, after every stage that ran and even if nothing changed
    (dvc/dvcfile.py, Lockfile.dump_stages; dvc/utils/serialize/_common.py, _dump_data). Killed in that second it leaves
    half a file, and every command from then on says "validation failed". A stage with `always_changed` takes that risk
    in each run, and the time.

    params.yaml, dvc.yaml and dvc.lock are parsed once for each of their states, not 75 times, and of dvc.lock only the
    entries that have changed are put into words: a fifth of the time of a run with nothing to do, and more than a
    second of each stage.
    """
    from dvc.dvcfile import Lockfile
    from dvc.stage.serialize import to_lockfile
    from dvc.utils import serialize, strictyaml
    from dvc.utils.serialize import _yaml

    parse_yaml, states = _yaml.parse_yaml, {}

    def parse_once(text: str, path: str, typ: str = "safe") -> Any:
        """What is parsed may be changed by who asked: each has a copy of their own."""
        if typ != "safe":
            return parse_yaml(text, path, typ)
        key = os.path.abspath(path)
        if states.get(key, ("", b""))[0] != text:
            states[key] = text, pickle.dumps(parse_yaml(text, path))
        return pickle.loads(states[key][1])

    entries: dict[str, tuple[Any, str]] = {}

    def dump_changed(lock_file: Lockfile, stages: list, **options: Any) -> None:
        lock = lock_file.load() or {"schema": "2.0"}
        locked = lock.setdefault("stages", {})
        new = {stage.name: to_lockfile(stage, **options)[stage.name] for stage in stages}
        if any(entry != locked.get(name) for name, entry in new.items()):
            locked.update(new)
            text = lock_text(lock, entries)
            write_text(Path(lock_file.path), text)
            words = "".join(entries[name][1] for name in new)
            locked.update(parse_yaml(f"stages:\n{words}", lock_file.path)["stages"])  # as it will be read
            states[os.path.abspath(lock_file.path)] = text, pickle.dumps(lock)
            lock_file.repo.scm_context.track_file(lock_file.relpath)

    Lockfile.dump_stages = dump_changed
    for module in (serialize, strictyaml, _yaml):
        module.parse_yaml = parse_once


def lock_text(lock: dict[str, Any], entries: dict[str, tuple[Any, str]]) -> str:
    """The text that DVC writes for the content of a dvc.lock; `entries` keeps that of each stage until it changes."""
    from dvc.utils.serialize import dumps_yaml

    for name, entry in lock["stages"].items():
        if name not in entries or entries[name][0] != entry:
            entries[name] = entry, dumps_yaml({"stages": {name: entry}}).removeprefix("stages:\n")
    others = dumps_yaml({key: value for key, value in lock.items() if key != "stages"})
    return f"{others}stages:\n" + "".join(entries[name][1] for name in lock["stages"])


def reproduce(targets: list[str], times: Path, warm: WarmProcess | None) -> None:
    """`dvc repro` of these stages, or of all; what they take is kept in `times`. A failure of DVC's is a UserError."""
    import dvc.stage.run
    from dvc.exceptions import DvcException, ReproductionError
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
    from dvc.stage.exceptions import StageCmdFailedError

    run_command = dvc.stage.run.cmd_run
    try:
        with Repo(config={"core": {"no_scm": not Path(".git").exists()}}) as repo, set_loggers_level(logging.WARNING):
            graph = get_active_graph(repo.index.graph)
            steps = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
            progress = Progress(steps, graph, read_json(times) if times.is_file() else {})

            def run_and_tell(stage: Any, **options: Any) -> None:
                print(progress.begin(stage), flush=True)
                run_command(stage, **options)
                progress.end(stage)

            dvc.stage.run.cmd_run = run_and_tell
            if warm:
                dvc.stage.run._run = warm_or_cold(warm)
            try:
                repo.reproduce(targets or None)
            finally:
                write_json(times, {name: round(seconds, 1) for name, seconds in progress.times.items()})
    except DvcException as error:
        cause = error.__cause__
        if limit_reached(error):
            raise
        if isinstance(cause, StageCmdFailedError):  # the stage has told its reason by itself
            raise UserError(f"{error}, see above; the same command goes on from there") from None
        if isinstance(error, ReproductionError) and not isinstance(cause, DvcException | OSError):
            raise  # a mistake of ours or of DVC's
        raise UserError(": ".join(str(item) for item in (error, cause) if item)) from None


def warm_or_cold(warm: WarmProcess) -> Callable[..., None]:
    """In place of DVC's function that runs a command: forked where `warm` does that, else as DVC does."""
    from dvc.stage.exceptions import StageCmdFailedError
    from dvc.stage.run import _run

    def run(executable: str, command: str, **options: Any) -> None:
        old_handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage heeds it
        try:
            status = warm.run(command, options["env"])
        finally:
            signal.signal(signal.SIGINT, old_handler)
        if status is None:
            _run(executable, command, **options)
        elif status:
            raise StageCmdFailedError(command, status)

    return run


if __name__ == "__main__":
    run_stage(main)
