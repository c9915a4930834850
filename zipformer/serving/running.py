"""Ways to run a server: until a signal comes, or in the background.

with serving(Recognizer.from_checkpoint("exp/digits/unified", Context(32, 256, 64))) as server:
    call = asyncio.run(transcribe(server.uri, samples))
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from zipformer.serving.dealt_socket import DealtSocket
from zipformer.serving.limits import Limits
from zipformer.serving.offer import Offer
from zipformer.serving.pages import Pages
from zipformer.serving.server import Server
from zipformer.streaming import Endpoint, Recognizer

POSTED_EVERY = 0.1  # seconds


def serve_until_signal(
    server: Server,
    host: str,
    port: int,
    started: Callable[[str], None] = lambda uri: None,
    dealt: DealtSocket | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM, from the main thread.

    Args:
        server: Not started yet.
        host: Where to listen.
        port: 0 takes a free one.
        dealt: To be used instead of them; it ends too when this hangs up.
        started: Called with the address when clients may connect.

    Raises:
        ValueError: If nobody can listen there.
    """

    async def run() -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        await server.start(host, port, dealt)
        if dealt:
            dealt.hung_up = stopped.set
        posting = asyncio.create_task(_post(server))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        started(server.uri)
        await server.run(stopped)
        posting.cancel()

    asyncio.run(run())


async def _post(server: Server) -> None:
    """Keeps what other processes see of a server up to date."""
    while True:
        server.post()
        await asyncio.sleep(POSTED_EVERY)


@contextmanager
def serving(
    offer: Offer | Recognizer,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    pages: Pages | None = None,
    keep_audio: Path | None = None,
    endpoint: Endpoint | None = None,
) -> Iterator[Server]:
    """A server in a thread of its own, by default on a free port; it stops at the end.

    Args:
        offer: What clients may choose; of a recognizer, its context alone.
        limits: What clients may ask for.
        host, port: Where to listen.
        pages, keep_audio, endpoint: As in ``Server``.

    Raises:
        ValueError: If nobody can listen there.
    """
    offer = Offer.only(offer) if isinstance(offer, Recognizer) else offer
    server = Server(offer, limits, None, pages, keep_audio, endpoint)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stopped = asyncio.Event()
        try:
            await server.start(host, port)
        except ValueError as error:
            ready.set_exception(error)
            return
        ready.set_result((asyncio.get_running_loop(), stopped))
        await server.run(stopped)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="server", daemon=True)
    thread.start()
    loop, stopped = ready.result()
    try:
        yield server
    finally:
        with suppress(RuntimeError):  # it has died
            loop.call_soon_threadsafe(stopped.set)
        thread.join()
