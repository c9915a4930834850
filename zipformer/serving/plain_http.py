"""What the server's port says to those who want no websocket: how it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from http import HTTPStatus

from zipformer.serving.sockets import Headers, Response


@dataclass(frozen=True)
class Health:
    """How a server is.

    Args:
        streams: That are open.
        steps: Of streams, since the start.
        lag: Seconds of audio that wait for the stream that is furthest behind.
        contexts: That clients may choose, the first one by default.
        latency_ms: Of each of them.
        sample_rate: Of the audio in Hz.
    """

    streams: int
    steps: int
    lag: float
    contexts: tuple[str, ...]
    latency_ms: tuple[int, ...]
    sample_rate: int


def answer(address: str, health: Health) -> Response:
    """The response to a GET.

    Args:
        address: Path and query.
        health: At this moment.
    """
    path, _, _ = address.partition("?")
    if path == "/health":
        return respond(HTTPStatus.OK, "application/json", json.dumps(asdict(health)))
    return respond(HTTPStatus.NOT_FOUND, "text/plain", f"{path}: there is /health, and a websocket")


def respond(status: HTTPStatus, kind: str, body: str) -> Response:
    """A whole response; it is not kept by browsers."""
    content = f"{body}\n".encode()
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(status.value, status.phrase, Headers(headers), content)
