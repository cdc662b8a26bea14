"""A headless Chromium, driven through its DevTools protocol: what a reader's browser does with the report."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.processes import HANGING_S, wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HINT = "no Chromium here: install one (Debian, Ubuntu: apt-get install chromium) or name it in the variable CHROMIUM"


def chromium() -> str:
    """The browser's path; the test is skipped, with the reason, where there is none."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for path in map(shutil.which, NAMES) if path), None)
    if not found:
        pytest.skip(HINT)
    return found


class Browser:
    """One window. `requests` are the addresses it asked for, `complaints` what it wrote to its console as errors."""

    def __init__(self, folder: Path):
        import websocket

        command = [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]
        command += ["--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self._port(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=HANGING_S) as answer:
            page = next(item for item in json.load(answer) if item["type"] == "page")
        self.socket = websocket.create_connection(
            page["webSocketDebuggerUrl"], timeout=HANGING_S, suppress_origin=True, max_size=None
        )
        self.numbers = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def _port(self, file: Path) -> str:
        def is_started() -> bool:
            if self.process.poll() is not None:
                pytest.fail(f"Chromium ended at once with status {self.process.returncode}")
            return file.is_file() and "\n" in file.read_text(encoding="utf-8")

        wait_until(is_started, "the start of Chromium")
        return file.read_text(encoding="utf-8").splitlines()[0]

    def send(self, method: str, **parameters: Any) -> dict:
        """One command, and what it answers; events on the way are noted."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        method, found = message["method"], message["params"]
        if method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(found["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(found["entry"]))

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a file in a window of that size, with the system's theme as given."""
        mobile = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.loaded = False
        self.send("Page.navigate", url=page.as_uri())
        wait_until(lambda: self.loaded or self.evaluate("document.readyState") == "complete", f"{page}")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited where it is a promise."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until the expression is true."""
        wait_until(lambda: self.evaluate(expression), expression)

    def press(self, key: str, code: int) -> None:
        """A key of the keyboard, for whatever has the focus."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def drag(self, x: float, y: float, to_x: float) -> None:
        """The left button pressed at (x, y), moved to (to_x, y) and released."""
        for kind, at in (("mousePressed", x), ("mouseMoved", to_x), ("mouseReleased", to_x)):
            self.send("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser that this object started."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=HANGING_S)
