"""Import the large libraries once: the stages that a command starts are forked from processes that have them.

`python -m stages.lib.project.warm_start dvc repro` becomes `dvc repro` and leaves two processes behind it that import
what most stages import, as soon as one has missed it (at once where DVC has made nothing yet), and wait as long as the
command runs. Each `python -m stages.NAME`
below it hands what it was started for to the one of the same environment, and ends as the process forked for it does
(`run_warm`, called by `stages`). If none is ready or fits, or off Linux, a stage imports for itself as ever.
"""

import array
import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.lib.project.warm_request import FOLDER, FORKED, LENGTH_BYTES, running_threads, socket_path, wanted

PR_SET_PDEATHSIG = 1
POLL_S = 0.1
DVC_CACHE = ".dvc/cache"


def import_libraries() -> None:
    """What takes long and starts no thread; nothing of this project, whose files may change while we wait."""
    import psutil  # noqa: F401
    import pydantic  # noqa: F401
    import ruamel.yaml  # noqa: F401
    import safetensors.torch  # noqa: F401
    import scipy.ndimage  # noqa: F401
    import scipy.stats  # noqa: F401
    import skimage.metrics  # noqa: F401
    import tqdm  # noqa: F401
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker  # noqa: F401
    from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer  # noqa: F401


def serve(folder: str, parent: int, at_once: bool) -> None:
    """Import, then fork a process for each request until `parent` ends; runs in a process of its own."""
    # Blocked, it waits for who is forked: ignored alone, it would be lost to a process that has just begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    path, server, forked = socket_path(folder), os.getpid(), {}
    try:
        _end_with(parent, signal.SIGTERM)
        while not (at_once or wanted(path).exists()):
            time.sleep(POLL_S)
        import_libraries()
        if running_threads() > 1:  # fork copies one thread only, and what the others hold stays held
            return
        gc.collect()
        gc.freeze()
        resident = _resident_file_pages()
        request, streams = _next_request(path, forked)
    finally:
        if os.getpid() == server:
            for process in forked:
                os.killpg(process, signal.SIGKILL)
            path.unlink(missing_ok=True)
            if not any(other.is_socket() for other in Path(folder).glob("*")):
                shutil.rmtree(folder, ignore_errors=True)
    _end_with(server, signal.SIGKILL)
    for page in resident:
        ctypes.c_char.from_address(page).value  # noqa: B018
    _run(*request, streams)


def _resident_file_pages() -> list[int]:
    """Addresses of the pages of files, mostly libraries, that this process has in its memory.

    A forked process has them only once it touches them. It does so first of all: what it then says of its own memory is
    what a process would say that imported the libraries itself.
    """
    pages = []
    with open("/proc/self/maps", encoding="utf-8") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for line in maps.readlines():
            span, permissions, _, _, inode, *_ = line.split()
            if inode == "0" or "r" not in permissions:
                continue
            first, end = (int(address, 16) // mmap.PAGESIZE for address in span.split("-"))
            pagemap.seek(8 * first)
            entries = array.array("Q", pagemap.read(8 * (end - first)))
            pages += [(first + number) * mmap.PAGESIZE for number, entry in enumerate(entries) if entry >> 63]
    return pages


def _next_request(path: Path, forked: dict[int, socket.socket]) -> tuple[list, list[int]]:
    """Returns only in a process forked for a request: that request, and its standard streams.

    `forked`: the processes that run, and the connection to whom each runs for.
    """
    selector = selectors.DefaultSelector()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        while True:
            event = selector.select()[0][0]
            if event.fileobj is listener:
                connection, _ = listener.accept()
                try:
                    request, streams = _receive(connection)
                except (OSError, ValueError):  # it died before it had said all
                    connection.close()
                    continue
                process = os.fork()
                if not process:
                    break
                os.setpgid(process, process)
                for stream in streams:
                    os.close(stream)
                forked[process] = connection
                selector.register(connection, selectors.EVENT_READ, process)
                selector.register(os.pidfd_open(process), selectors.EVENT_READ, process)
            elif event.fileobj is not forked[event.data]:
                connection = forked.pop(event.data)
                selector.unregister(event.fileobj)
                os.close(event.fileobj)
                with contextlib.suppress(KeyError):
                    selector.unregister(connection)
                _tell_status(event.data, connection)
            elif event.fileobj.recv(1):
                os.kill(event.data, signal.SIGINT)
            else:
                selector.unregister(event.fileobj)
                os.killpg(event.data, signal.SIGKILL)
        os.setpgid(0, 0)
        for key in list(selector.get_map().values()):
            key.fileobj.close() if isinstance(key.fileobj, socket.socket) else os.close(key.fileobj)
        connection.close()
        selector.close()
    return request, streams


def _tell_status(process: int, connection: socket.socket) -> None:
    """Wait for the ended `process`, and tell whom it ran for, if that is still there."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with connection, contextlib.suppress(OSError):
        connection.sendall(status.to_bytes(LENGTH_BYTES, "big", signed=True))


def _receive(connection: socket.socket) -> tuple[list, list[int]]:
    connection.settimeout(10)
    length, streams, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 3)
    with connection.makefile("rb") as file:
        request = json.loads(file.read(int.from_bytes(length, "big")))
    return request, streams


def _end_with(parent: int, with_signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, with_signal)
    if os.getppid() != parent:
        sys.exit()


def _run(
    module: str, command: list[str], arguments: list[str], folder: str, umask: int, variables: dict, streams: list[int]
) -> None:
    """What `python -m module` does, in this forked process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(variables, **{FORKED: str(os.getpid())})
    sys.orig_argv[:], sys.argv[1:], sys.path[0] = command, arguments, folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
        del sys.modules[name]  # its files may have changed since
    importlib.invalidate_caches()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Leave the two behind, then become the command."""
    command = sys.argv[1:]
    if sys.platform == "linux":
        from stages.lib.project.allocator import GIVE_BACK

        os.environ[FOLDER] = tempfile.mkdtemp(prefix="stages-")
        arguments = os.environ[FOLDER], os.getpid(), not Path(DVC_CACHE).is_dir()
        code = f"from stages.lib.project.warm_start import serve; serve{arguments}"
        for variables in ({}, GIVE_BACK):
            subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"error: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
