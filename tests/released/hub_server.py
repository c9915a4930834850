"""A small Hugging Face hub on this machine: lists files, and serves them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server has.

    Args:
        models: Name -> folder with its files.
        gated: Names that ask for a login.
    """

    def __init__(self, models: dict[str, Path], gated: tuple[str, ...] = ()) -> None:
        self.models = models
        self.gated = gated
        self.served: list[str] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Hub]:
        """Serves on a free port of this machine."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path.partition("?")[0]).strip("/")
        if path.startswith("api/models/"):
            owner, name, _, revision = (path.removeprefix("api/models/") + "//main").split("/")[:4]
            self._list(request, f"{owner}/{name}", revision or "main")
        else:
            name, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            self._file(request, name, revision, file)

    def _refuses(self, request: BaseHTTPRequestHandler, name: str, revision: str) -> bool:
        if name in self.gated:
            self._send(request, 403, {"X-Error-Code": "GatedRepo"})
        elif name not in self.models:
            self._send(request, 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def _list(self, request: BaseHTTPRequestHandler, name: str, revision: str) -> None:
        if self._refuses(request, name, revision):
            return
        folder = self.models[name]
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        content = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}
        self._send(request, 200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _file(self, request: BaseHTTPRequestHandler, name: str, revision: str, file: str) -> None:
        if self._refuses(request, name, revision):
            return
        content = (self.models[name] / file).read_bytes()
        if request.command == "GET":
            self.served.append(file)
        tag = hashlib.sha256(content).hexdigest()
        self._send(request, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}, content)

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes = b"",
    ) -> None:
        request.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)
