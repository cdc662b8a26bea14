"""A server on the loopback that speaks as much of the Hugging Face Hub's API as a download needs."""

import hashlib
import http.server
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

REPOSITORY = "someone/tiny"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One repository, REPOSITORY at REVISION, with the files of `folder`; what goes wrong is set by a test."""

    folder: Path
    address: str = ""
    gated: bool = False
    token: str | None = None  # without it the repository is not shown
    # Each of these concerns one file, by its path in the repository.
    break_off: dict[str, int] = field(default_factory=dict)  # how many more times the connection breaks half-way
    corrupt: set[str] = field(default_factory=set)  # served with one byte changed
    stall: set[str] = field(default_factory=set)  # stops half-way for as long as it is in here
    drip: set[str] = field(default_factory=set)  # comes a few bytes a second
    endless: set[str] = field(default_factory=set)  # goes on after its end, without a stated length
    elsewhere: set[str] = field(default_factory=set)  # only where a redirection of many bytes leads to
    headers: dict[str, str] = field(default_factory=dict)  # that come with every file in place of the usual ones
    description: bytes | None = None  # what the API answers in place of the files
    fetched: list[str] = field(default_factory=list)  # every file whose content was asked for, in order
    ranges: list[str] = field(default_factory=list)  # the Range headers that came

    @cached_property
    def files(self) -> list[dict]:
        """What the API states of every file: size, digest of Git, and SHA-256 of those kept in LFS."""
        stated = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            entry = {
                "rfilename": path.relative_to(self.folder).as_posix(),
                "size": len(content),
                "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
            }
            if path.suffix not in (".json", ".txt", ".md"):
                entry["lfs"] = {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 134,
                }
            stated.append(entry)
        return stated


@contextmanager
def serve(folder: Path) -> Iterator[Hub]:
    """A Hub with the files of `folder` on a free port of 127.0.0.1 for as long as the block lasts."""
    hub = Hub(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].removeprefix("/elsewhere")
        if not path.startswith((f"/api/models/{REPOSITORY}/", f"/{REPOSITORY}/resolve/")):
            return self._refuse(404, "RepoNotFound", "Repository not found")
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._refuse(401, "RepoNotFound", "Repository not found")
        if REVISION not in path:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if path == f"/api/models/{REPOSITORY}/revision/{REVISION}":
            if self.hub.description is not None:
                return self._send(200, self.hub.description, {"Content-Type": "text/html"}, with_body)
            return self._send_json({"id": REPOSITORY, "sha": REVISION, "siblings": self.hub.files}, with_body)
        if path == f"/api/models/{REPOSITORY}/tree/{REVISION}":
            return self._send_json([_tree_entry(entry) for entry in self.hub.files], with_body)
        if self.hub.gated:
            return self._refuse(403, "GatedRepo", "Access to this model is restricted")
        name = path.removeprefix(f"/{REPOSITORY}/resolve/{REVISION}/")
        stated = {entry["rfilename"]: entry for entry in self.hub.files}
        if name not in stated:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        if name in self.hub.elsewhere and not self.path.startswith("/elsewhere"):
            headers = {"Location": f"/elsewhere{self.path}", "X-Repo-Commit": REVISION}
            return self._send(307, b"See there. " * 1000, headers, with_body)
        self._send_file(stated[name], with_body)

    def _send_file(self, stated: dict, with_body: bool) -> None:
        name = stated["rfilename"]
        content = bytearray((self.hub.folder / name).read_bytes())
        if name in self.hub.corrupt:
            content[-1] ^= 1
        first = 0
        if with_body:
            self.hub.fetched.append(name)
            if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                self.hub.ranges.append(self.headers["Range"])
                first = int(match.group(1))
        self.send_response(206 if first else 200)
        digest = stated["lfs"]["sha256"] if "lfs" in stated else stated["blobId"]
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        if "lfs" in stated:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if name not in self.hub.endless:
            headers["Content-Length"] = str(len(content) - first)
        for header, value in {**headers, **self.hub.headers}.items():
            self.send_header(header, value)
        self.end_headers()
        if not with_body:
            return
        if name in self.hub.endless | self.hub.drip:
            return self._go_on(bytes(content), name in self.hub.endless)
        rest = bytes(content[first:])
        if self.hub.break_off.get(name, 0) > 0:
            self.hub.break_off[name] -= 1
            self.wfile.write(rest[: len(rest) // 2])
            self.close_connection = True
            return
        if name in self.hub.stall:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            while name in self.hub.stall:
                time.sleep(0.05)
            self.close_connection = True
            return
        self.wfile.write(rest)

    def _go_on(self, content: bytes, endless: bool) -> None:
        """Send `content` again and again, or a few bytes a second of it, until nobody listens."""
        self.close_connection = True
        with suppress(OSError):
            for first in itertools.count(0, 4):
                self.wfile.write(content if endless else content[first : first + 4])
                time.sleep(0 if endless else 0.2)

    def _send_json(self, value: object, with_body: bool) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, with_body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"X-Error-Code": code, "X-Error-Message": message}, with_body=self.command == "GET")

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _tree_entry(stated: dict) -> dict:
    entry = {
        "type": "file",
        "path": stated["rfilename"],
        "size": stated["size"],
        "oid": stated["blobId"],
    }
    if "lfs" in stated:
        entry["lfs"] = {
            "oid": stated["lfs"]["sha256"],
            "size": stated["lfs"]["size"],
            "pointerSize": 134,
        }
    return entry
