"""A websocket server that does what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs the extra 'serve'")

from websockets.asyncio.server import ServerConnection, serve

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def fake_server(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Yields the address of a server whose clients are handled so."""
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.2, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def hear(client: ServerConnection) -> np.ndarray:
    """All samples up to ``Done``."""
    pieces = [np.zeros(0, np.float32)]
    while (message := await client.recv()) != "Done":
        assert isinstance(message, bytes)
        pieces.append(np.frombuffer(message, "<f4"))
    return np.concatenate(pieces)


async def say(client: ServerConnection, *answers: dict[str, Any]) -> None:
    for answer in answers:
        await client.send(json.dumps(answer))
    await client.send("Done!")


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a test in an event loop; one that hangs fails."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 120))

    return run
