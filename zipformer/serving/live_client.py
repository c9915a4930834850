"""A call that goes on while words come back: for programs that hear somebody speak.

    async with Client("ws://localhost:6006/?right=64") as client:
        listening = asyncio.create_task(hear(client))  # calls client.send and client.finish
        async for answer in client:
            print(answer["text"] + answer["provisional"])

Recordings have it simpler with ``zipformer.serving.client.transcribe``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

import numpy as np

from zipformer.serving.client import LARGEST_ANSWER, CallFailed, read_answer
from zipformer.serving.messages import END_OF_AUDIO, END_OF_WORDS
from zipformer.serving.sockets import (
    ClientConnection,
    ConnectionClosed,
    WebSocketException,
    connect,
)


class Client:
    """One call; an asynchronous context, and an asynchronous iterator over the answers.

    Args:
        uri: Of the server, with what is chosen there: ``ws://localhost:6006/?right=64&words=1``.

    Raises:
        CallFailed: If the server cannot be reached, refuses something, or hangs up.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._stack = AsyncExitStack()
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        try:
            self._socket = await self._stack.enter_async_context(
                connect(
                    self.uri,
                    compression=None,
                    max_size=LARGEST_ANSWER,
                    ping_interval=None,
                    proxy=None,
                )
            )
        except (OSError, WebSocketException) as error:
            raise CallFailed(f"{self.uri} cannot be reached: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        # What asyncio in CPython raises for a transport that a server has reset in the middle of a
        # message, when it is aborted: nothing is left to close then.
        with suppress(AttributeError):
            await self._stack.aclose()

    async def send(self, samples: np.ndarray) -> None:
        """Sends the next (N,) samples: floats in [-1, 1], or int16 if the address says so.

        Why a server has hung up is told to whoever reads the answers.
        """
        integers = samples.dtype == np.int16
        await self._put(np.ascontiguousarray(samples, "<i2" if integers else "<f4").tobytes())

    async def finish(self) -> None:
        """Says that the audio has ended; the last words come then."""
        await self._put(END_OF_AUDIO)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        assert self._socket is not None, "use it as 'async with Client(...) as client'"
        try:
            while (message := await self._socket.recv()) != END_OF_WORDS:
                yield read_answer(message)
        except ConnectionClosed as closed:
            raise CallFailed(f"the server hung up: {closed}") from closed

    async def _put(self, message: bytes | str) -> None:
        assert self._socket is not None, "use it as 'async with Client(...) as client'"
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            pass
