"""What server and clients take from the package ``websockets``, which only they need."""

from __future__ import annotations

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.asyncio.server import Server as SocketServer
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.datastructures import Headers
    from websockets.exceptions import ConnectionClosed, WebSocketException
    from websockets.http11 import Request, Response
except ImportError as error:
    raise ImportError(
        f"serving and its clients need the package websockets 15 or newer ({error}): "
        "pip install -e '.[serve]' in this project's folder"
    ) from error

__all__ = [
    "ClientConnection",
    "ConnectionClosed",
    "Headers",
    "Request",
    "Response",
    "ServerConnection",
    "SocketServer",
    "WebSocketException",
    "connect",
    "serve",
]
