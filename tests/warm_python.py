"""A Python that has the large libraries imported: each process is forked from one that did, seconds less for each.

`warm_python()` is the path of a program for tests whose point is not how a process starts or what it measures. It takes
`-m MODULE ...` of this project; whatever else it is asked for, or is to start otherwise, Python itself does.
"""

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.conftest import PROJECT
from tests.processes import wait_until
from tools.warm import import_libraries, run_here

# Ask the server, which has the same files open as we, and end as what it has forked. Killed, we take that with us.
CLIENT = """#!{python} -IS
import json, os, socket, sys
words, variables = sys.argv[1:], dict(os.environ)
own_start = {{"PYTHONHASHSEED", "PYTHONOPTIMIZE"}} & variables.keys()
if own_start or words[:1] != ["-m"] or not words[1].startswith(("stages.", "tools.")):
    os.execv({python!r}, [{python!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
socket.send_fds(server, [b"x"], [0, 1, 2])
server.sendall(json.dumps([words[1:], os.getcwd(), variables]).encode() + b"\\n")
status = int(server.recv(99))
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
OWN = ("stages", "tools", "tests", "huggingface_hub")  # imported anew: their files, or variables, may be others


@cache
def warm_python() -> str:
    """The program's path: `python` in a folder of its own. On other systems than Linux it is Python itself."""
    if sys.platform != "linux":
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    client, path = folder / "python", folder / "socket"
    client.write_text(CLIENT.format(python=sys.executable, path=str(path)), encoding="utf-8")
    client.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", __name__, folder]
    process = subprocess.Popen(words, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    wait_until(lambda: path.exists() or process.poll() is not None, "the libraries")
    return str(client)


def serve(folder: Path) -> None:
    """Answer whoever connects, until this process is ended, as it is with its parent."""
    from stages.lib.project.parent import end_with_parent

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_libraries()
    import dvc.repo.reproduce  # noqa: F401

    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "starting"))
        listener.listen(99)
        (folder / "starting").rename(folder / "socket")
        kept = set()
        while True:
            connection, _ = listener.accept()
            kept = {keeper for keeper in kept if not os.waitpid(keeper, os.WNOHANG)[0]}
            if keeper := os.fork():
                kept.add(keeper)
                connection.close()
            else:
                listener.close()
                keep(connection, folder)


def keep(connection: socket.socket, folder: Path) -> None:
    """Fork the process that is asked for, wait for its end or the client's, and answer with its status."""
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    words, working_folder, variables = json.loads(connection.makefile().readline())
    process = os.fork()
    if not process:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
            del sys.modules[name]
        sys.executable = str(folder / "python")
        sys.path[:1] = [working_folder, *variables.get("PYTHONPATH", "").split(os.pathsep)]
        for own_start in filter(Path.is_file, (Path(path, "sitecustomize.py") for path in sys.path)):
            runpy.run_path(str(own_start))
        run_here(words, variables, working_folder)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(process)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
