"""A real browser without a window, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NO_BROWSER = "no browser: install Debian's chromium, or name a Chrome or Edge in CHROME"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions --hide-scrollbars --remote-debugging-port=0"
).split()
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND"  # nothing of what it asks for is found
HERE = f"{NOWHERE}, EXCLUDE 127.0.0.1"  # but what this machine serves
PATIENCE = 60.0  # seconds


def find_browser() -> str | None:
    """The program named by CHROME, or one of the usual names; None if there is none."""
    named = os.environ.get("CHROME")
    found = (shutil.which(name) for name in ((named,) if named else NAMES))
    return next((path for path in found if path), None)


def need_browser() -> str:
    """The same; without one the test is skipped."""
    program = find_browser()
    if program is None:
        pytest.skip(NO_BROWSER)
    return program


class Tab:
    """One page of the browser, and all that it asked for, said or complained of."""

    def __init__(self, socket: Any, target: str) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.numbers = iter(range(1, 1_000_000))
        self.session: str | None = None
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its result; events on the way are kept."""
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": arguments}
        if self.session:
            command["sessionId"] = self.session
        self.socket.send(json.dumps(command))
        while True:
            reply = json.loads(self.socket.recv(timeout=PATIENCE))
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def open(self, page: Path | str, width: int = 1200, dark: bool = False) -> None:
        """Loads a file or an address into a window of that width, forgetting what was before."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **size)
        self("Log.clear")
        self.events.clear()
        self("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        end = time.monotonic() + PATIENCE
        while not self.of("Page.loadEventFired"):
            assert time.monotonic() < end, "the page does not finish loading"
            self("Runtime.evaluate", expression="0")
        time.sleep(0.2)
        self("Runtime.evaluate", expression="0")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page; the page's policy does not bind it."""
        how = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        reply = self("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait(self, expression: str) -> None:
        """Waits until a JavaScript expression is true in the page."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression} does not come true"
            time.sleep(0.05)

    def of(self, *methods: str) -> list[dict[str, Any]]:
        """What such events said."""
        return [e["params"] for e in self.events if e.get("method") in methods]

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, its own among them."""
        return [e["request"]["url"] for e in self.of("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Errors, warnings and everything else on the console."""
        return self.of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")

    def picture(self, path: Path) -> Path:
        """Writes the whole page as PNG."""
        shot = self("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@contextmanager
def browser(program: str, *flags: str) -> Iterator[Tab]:
    """Starts the browser with an empty profile; ends it afterwards.

    Args:
        program: Its path.
        flags: How far it reaches, ``NOWHERE`` or ``HERE``, and what else it is to do.
    """
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        with open(Path(profile) / "output.txt", "w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            port, path = _address(Path(profile), process)
            uri = f"ws://127.0.0.1:{port}{path}"
            with connect(uri, max_size=None, proxy=None, compression=None) as socket:
                yield Tab(socket, _new_target(socket))
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Port and path of the browser's socket, which it writes into its profile."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.05)
    raise RuntimeError(f"the browser did not start: {(profile / 'output.txt').read_text()[-2000:]}")


def _new_target(socket: Any) -> str:
    command = {"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}}
    socket.send(json.dumps(command))
    while "id" not in (reply := json.loads(socket.recv(timeout=PATIENCE))):
        pass
    return reply["result"]["targetId"]
