"""What the server's port says to those who want no websocket: the page, its parts, and health."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, unquote

from zipformer.context import Context
from zipformer.serving.recordings import Recordings
from zipformer.serving.sockets import Headers, Response

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing comes from elsewhere, and nothing goes there; the sockets are those of the same address.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'"
)


@dataclass(frozen=True)
class Health:
    """How a server is.

    Args:
        streams: That are open.
        steps: Of streams, since the start.
        lag: Seconds of audio that wait for the stream that is furthest behind.
        contexts: That clients may choose, the first one by default.
        latency_ms: Of each of them; null for full context, whose words come at the end.
        sample_rate: Of the audio in Hz.
    """

    streams: int
    steps: int
    lag: float
    contexts: tuple[str, ...]
    latency_ms: tuple[int | None, ...]
    sample_rate: int


@dataclass(frozen=True)
class Pages:
    """All that can be fetched.

    Args:
        model: What is served, for a person.
        recordings: To try it with.
    """

    model: str = "no name"
    recordings: Recordings = field(default_factory=Recordings)

    def answer(self, address: str, health: Health, contexts: Sequence[Context]) -> Response:
        """The response to a GET.

        Args:
            address: Path and query.
            health: At this moment.
            contexts: That clients may choose.
        """
        path = unquote(address.partition("?")[0])
        folder, _, name = path.rpartition("/")
        if path == "/health":
            return respond("application/json", json.dumps(asdict(health)))
        if path == "/about":
            return respond(
                "application/json", json.dumps(self._about(contexts, health.sample_rate))
            )
        if path == "/":
            return respond(KINDS[".html"], _parts()["index.html"])
        if folder == "/page" and name in _parts():
            return respond(KINDS[Path(name).suffix], _parts()[name])
        if folder == "/recordings" and (recording := self.recordings.named(name)):
            return respond(recording.kind, recording.path.read_bytes())
        there = "there is a page at /, /health, and a websocket"
        return respond("text/plain", f"{path}: {there}", HTTPStatus.NOT_FOUND)

    def _about(self, contexts: Sequence[Context], sample_rate: int) -> dict[str, object]:
        """What the page shows of the model."""
        return {
            "model": self.model,
            "text": self.recordings.about,
            "sample_rate": sample_rate,
            "contexts": [
                {"name": str(c), "full": c.is_full, "latency_ms": c.latency_ms, **asdict(c)}
                for c in contexts
            ],
            "recordings": [
                {
                    "name": one.path.stem,
                    "text": one.text,
                    "url": f"recordings/{quote(one.path.name)}",
                }
                for one in self.recordings.files
            ],
        }


@cache
def _parts() -> dict[str, str]:
    """The files of the page by their names."""
    return {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}


def respond(kind: str, body: str | bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A whole response; it is not kept by browsers."""
    if isinstance(body, str):
        body, kind = f"{body}\n".encode(), f"{kind}; charset=utf-8"
    headers = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(status.value, status.phrase, Headers(headers), body)
