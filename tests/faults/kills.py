"""Does a run that was killed go on? `python -m tests.faults.kills` kills at random moments and in the ledger's writing.

Each kill takes some results of a tiny model's pipeline away, runs it, kills the whole group, one process of it or DVC
alone, and asks four things: no process is left after five seconds, the same command goes on to its end, the results
are the same to the byte, and nothing lies about. Kill N is the same kill every time, but for what time does to it.
"""

import argparse
import atexit
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.lib.project.lock_file import read_lock
from tests.clone import Clone, make_clone, yaml
from tests.conftest import write_tiny_model
from tests.processes import HANGING_S, is_gone

SETS = [
    ["noise", "generate@int8-cpu"],
    ["evaluate", "summarize"],
    ["controls", "floor"],
    ["sensitivity_components"],
    ["download", "calibrate"],
    ["generate@fp32", "report"],
    ["sensitivity_steps", "sensitivity_layers"],
    ["quantize@int8-cpu", "benchmark@int8-cpu"],
]
MEASURING = ("quantize", "benchmark")  # what they write differs from run to run, and with it what is made of it
TARGETS = ("group", "single", "dvc")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
ORPHANS_S = 5
TOKEN = "STAGES_KILLS"
COMMANDS = {
    "warm": ["-m", "tools.run"],
    "plain": [
        "-c",
        "import runpy, tools.warm; tools.warm.WARM = {}; runpy.run_module('tools.run', run_name='__main__')",
    ],
}
# Waits where dvc.lock is about to be written, or to be put in its place, the $LEDGER_COUNT-th time that it happens.
LEDGER = """
import os, sys, time
seen = []
def stop(event, arguments):
    if event in ("open", "os.rename") and ".dvc.lock." in str(arguments[0]):
        seen.append(event)
        if len(seen) == int(os.environ["LEDGER_COUNT"]):
            os.mkdir(os.environ["LEDGER_STOP"])
            while os.path.exists(os.environ["LEDGER_STOP"]):
                time.sleep(0.01)
if "LEDGER_STOP" in os.environ:
    sys.addaudithook(stop)
"""


class Campaign:
    """A clone that was run once, and everything in it as it must be after every kill."""

    def __init__(self, folder: Path):
        self.folder, self.clone = folder / "clone", Clone(folder / "clone")
        self.hooks, self.temporary, self.stopped = (folder / name for name in ("hooks", "temporary", "stopped"))
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            for made in (self.folder, folder / "tiny", self.hooks):
                made.mkdir(parents=True)
            make_clone(self.folder, write_tiny_model(folder / "tiny"))
            (self.hooks / "sitecustomize.py").write_text(LEDGER, encoding="utf-8")
            (folder / "made").touch()
        self.clone.run("python", "-m", "tools.run")  # goes on where a shorter campaign left it
        self.durations_s: dict[int, float] = {}
        self.running: subprocess.Popen | None = None

    def end(self) -> None:
        """Leave nothing running, however the campaign itself ends."""
        if self.running and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)

    def state(self) -> dict[str, str]:
        """Digests of all results, and the ledger's entries, whose order does not count."""
        files = [*(self.folder / "data/runs").rglob("*"), *(self.folder / "reports/local").rglob("*")]
        digests = {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.is_file() and path.name != "stage_times.json"
        }
        ledger = yaml.load(self.folder / "dvc.lock")["stages"]
        return digests | {f"dvc.lock {name}": json.dumps(entry, sort_keys=True) for name, entry in ledger.items()}

    def take_away(self, stages: list[str]) -> None:
        """The results of `stages`, their entries in the ledger, and what could bring them back."""
        path = self.folder / "dvc.lock"
        ledger, text = read_lock(path), path.read_text(encoding="utf-8")
        for name in stages:
            for item in ledger[name].outs:
                out = self.folder / item
                shutil.rmtree(out) if out.is_dir() else out.unlink()
            text = re.sub(rf"(?m)^  {name}:\n(    .*\n)+", "", text)
        path.write_text(text, encoding="utf-8")
        shutil.rmtree(self.folder / ".dvc/cache/runs", ignore_errors=True)

    def start(self, kind: str, token: str, **variables: str) -> subprocess.Popen:
        """The command in a group of its own, which stands for a terminal."""
        shutil.rmtree(self.stopped, ignore_errors=True)
        self.temporary.mkdir(exist_ok=True)
        environment = self.clone.environment | {TOKEN: token, "TMPDIR": str(self.temporary), **variables}
        with (self.folder.parent / "log").open("w", encoding="utf-8") as log:
            self.running = subprocess.Popen(
                [sys.executable, *COMMANDS[kind]],
                cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.running

    def kill(self, number: int) -> str:
        """Kill `number`: what it was; an AssertionError says what did not hold."""
        chance = random.Random(number)
        target, aimed, kind = TARGETS[number % 3], number // 3 % 2 == 1, ("warm", "plain")[number // 6 % 2]
        chosen = chance.randrange(len(SETS))
        before, token = self.state(), f"{os.getpid()}-{number}"
        at_s = chance.random()
        while True:  # until the kill comes before the end
            self.take_away(SETS[chosen])
            writings = 2 * len(SETS[chosen]) if aimed else 0
            what = self._kill(chance, target, writings, kind, token, at_s * self.durations_s.get(chosen, 12))
            if what:
                break
            self._restore(kind, before, chosen)
            at_s /= 2
        deadline_s = time.monotonic() + ORPHANS_S
        while left := list(processes(token)):
            assert time.monotonic() < deadline_s, (
                f"{what}: alive after {ORPHANS_S} s: {[one.cmdline() for one in left]}"
            )
            time.sleep(0.05)
        self._restore(kind, before, chosen, what)
        return what

    def _kill(self, chance: random.Random, target: str, writings: int, kind: str, token: str, at_s: float) -> str:
        """Start, wait, kill; what was killed, or nothing if the run was over before."""
        variables = {}
        if writings:
            count = str(chance.randint(1, writings))
            variables = {"LEDGER_STOP": str(self.stopped), "LEDGER_COUNT": count, "PYTHONPATH": str(self.hooks)}
        main = self.start(kind, token, **variables)
        begin_s = time.monotonic()
        while not (self.stopped.exists() if writings else time.monotonic() - begin_s > at_s):
            if main.poll() is not None:
                return ""
            time.sleep(0.01)
        what = signal.SIGKILL if writings else chance.choice(SIGNALS)
        where = f"at writing {count} of the ledger" if writings else f"after {time.monotonic() - begin_s:.1f} s"
        if target == "group":
            os.killpg(main.pid, what)
        else:
            found = sorted(processes(token), key=lambda one: one.pid)  # none, when it has just begun
            victim = psutil.Process(main.pid) if target == "dvc" or not found else chance.choice(found)
            where += f", {'the main one' if victim.pid == main.pid else ' '.join(victim.cmdline()[1:4])[:60]}"
            victim.send_signal(what)
        shutil.rmtree(self.stopped, ignore_errors=True)
        main.wait(HANGING_S)
        return f"{kind}, {target}, {what.name} {where}"

    def _restore(self, kind: str, before: dict[str, str], chosen: int, what: str = "no kill") -> None:
        """Go on by the same command, and compare."""
        begin_s = time.monotonic()
        main = self.start(kind, "none")
        status = main.wait(HANGING_S)
        said = (self.folder.parent / "log").read_text(encoding="utf-8")
        assert status == 0, f"{what}: the next run ended with {status}: {said}"
        self.durations_s[chosen] = time.monotonic() - begin_s
        after = self.state()
        measuring = any(name.startswith(MEASURING) for name in SETS[chosen])
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if measuring:
            changed = [name for name in changed if name.startswith("data/")]
        assert not changed, f"{what}: {changed[:5]} of {len(changed)} differ"
        semaphores = [path for path in Path("/dev/shm").glob("sem.stages-*") if is_gone(int(path.name.split("-")[1]))]
        # PyTorch makes an empty folder of a fixed name in whatever process imports it
        temporary = [*self.temporary.iterdir(), *(self.folder / ".dvc/tmp/run/temporary").iterdir()]
        temporary = [path for path in temporary if not path.name.startswith("torchinductor_")]
        litter = [*temporary, *semaphores, *self.folder.rglob("*.partial")]
        litter += (self.folder / ".dvc/cache").rglob(".*.tmp")
        assert not litter, f"{what}: {litter[:5]} lie about"


def processes(token: str) -> Iterator[psutil.Process]:
    """Those of the run with that token that have not ended."""
    for one in psutil.process_iter():
        try:
            if one.environ().get(TOKEN) == token and not is_gone(one.pid):
                yield one
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def main() -> None:
    """Kill, tell each kill, and count those after which something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument(
        "--folder", type=Path, default=Path(".dvc/tmp/kills"), help="where the clone lies, to be used again"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    campaign = Campaign(arguments.folder.absolute())
    atexit.register(campaign.end)
    wrong = 0
    for number in range(arguments.first, arguments.first + arguments.kills):
        begin_s = time.monotonic()
        try:
            print(f"{number}: goes on: {campaign.kill(number)}, {time.monotonic() - begin_s:.0f} s", flush=True)
        except AssertionError as error:
            wrong += 1
            print(f"{number}: WRONG: {error}", flush=True)
            campaign.clone.run("python", "-m", "tools.run")
    print(f"{arguments.kills - wrong} of {arguments.kills} go on")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
