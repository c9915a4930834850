"""Serves live streams over websockets, in the protocol of sherpa-onnx's server.

What a client may send and gets is in ``zipformer.serving.messages``, what it may choose in the
address in ``offer`` beside it, what a browser may fetch in ``pages``. The end of the audio is
flushed: no silence needs to be appended. A client that sends what it should not, or nothing, or
does not read what it is sent, is closed with an error message, a close code and a reason; nobody
else notices.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Self

from zipformer.serving.board import Board, Load
from zipformer.serving.connection import LARGEST_MESSAGE, Connection
from zipformer.serving.dealt_socket import DealtSocket
from zipformer.serving.kept_audio import AudioKeeper
from zipformer.serving.limits import Limits
from zipformer.serving.listening import explain, uri_of
from zipformer.serving.messages import (
    END_OF_AUDIO,
    END_OF_WORDS,
    GOING_AWAY,
    POLICY,
    TRY_LATER,
    Incoming,
    Refused,
    check_text,
    error_message,
)
from zipformer.serving.offer import Choice, Offer
from zipformer.serving.pages import Health, Pages
from zipformer.serving.session import Session
from zipformer.serving.sockets import (
    ConnectionClosed,
    Request,
    Response,
    ServerConnection,
    SocketServer,
    serve,
)
from zipformer.serving.worker import Worker
from zipformer.streaming import Endpoint

logger = logging.getLogger(__name__)
_sockets_logger = logging.getLogger(f"{__name__}.sockets")
_sockets_logger.setLevel(logging.CRITICAL)  # else every port scanner fills the log

MESSAGES_READ_AHEAD = 4


class Server:
    """Listens for clients from ``start`` to ``stop``.

    Args:
        offer: What clients may choose; its recognizers are used by nobody else meanwhile.
        limits: As above.
        tls: Certificate and key, for ``wss``.
        pages: What browsers may fetch.
        keep_audio: Folder for what clients say; None keeps nothing.
        endpoint: When segments of a stream end; None = a stream is one segment.
        board: Where it posts its load, and finds that of processes that serve with it.
    """

    def __init__(
        self,
        offer: Offer,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        pages: Pages | None = None,
        keep_audio: Path | None = None,
        endpoint: Endpoint | None = None,
        board: Board | None = None,
    ) -> None:
        self.offer = offer
        self.limits = limits = limits or Limits()
        self._board = board or Board()
        self._pages = pages or Pages()
        self._keeper = AudioKeeper(keep_audio, offer.sample_rate)
        self.uri = ""  # where clients connect to
        self.worker = Worker(
            limits.max_batch, limits.max_waiting_seconds, limits.max_whole_seconds, endpoint
        )
        self._tls = tls
        self._clients: dict[ServerConnection, Session | None] = {}  # None: not prepared yet
        self._listener: SocketServer | None = None
        self._working: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        """How it is at this moment, with the processes that serve with it."""
        contexts = self.offer.contexts
        self.post()
        load = self._board.total()
        return Health(
            streams=load.streams,
            steps=load.steps,
            lag=round(load.lag, 3),
            contexts=tuple(map(str, contexts)),
            latency_ms=tuple(context.latency_ms for context in contexts),
            sample_rate=self.offer.sample_rate,
        )

    def post(self) -> None:
        """Writes its load on the board."""
        worker = self.worker
        self._board.post(Load(worker.open_streams, worker.steps, worker.lag))

    async def start(
        self, host: str = "127.0.0.1", port: int = 6006, dealt: DealtSocket | None = None
    ) -> Self:
        """Begins to listen.

        Args:
            host, port: Where; port 0 takes a free one.
            dealt: To be used instead of them.

        Raises:
            ValueError: If nobody can listen there.
        """
        where = {"sock": dealt} if dealt else {"host": host, "port": port}
        with explain(host, port):
            self._listener = await serve(
                self._serve,
                **where,
                process_request=self._admit,
                create_connection=Connection,
                compression=None,  # noise does not compress
                max_size=LARGEST_MESSAGE,
                max_queue=MESSAGES_READ_AHEAD,
                ping_interval=None,  # a client that is kept waiting could not answer
                close_timeout=self.limits.farewell_timeout,
                logger=_sockets_logger,
                ssl=self._tls,
            )
        address = next(iter(self._listener.sockets)).getsockname()
        self.uri = uri_of(address[:2], self._tls is not None)
        self._working = asyncio.create_task(self.worker.run())
        return self

    async def stop(self) -> None:
        """Turns clients away, lets those who have sent everything have their words, and ends."""
        assert self._listener is not None and self._working is not None, "not started"
        self._listener.close(close_connections=False)
        leaving = Refused(GOING_AWAY, "the server is stopping")
        early = []
        for socket, session in self._clients.items():
            if session is None:
                early.append(self._refuse(socket, leaving))
            elif not session.ended:
                session.fail(leaving)
        try:
            async with asyncio.timeout(self.limits.farewell_timeout):
                await asyncio.gather(*early)
                await self._listener.wait_closed()
        except TimeoutError:
            for socket in self._clients:
                socket.transport.abort()
            await self._listener.wait_closed()
        self._working.cancel()
        await asyncio.wait([self._working])

    async def run(self, stopped: asyncio.Event) -> None:
        """Serves until ``stopped`` is set; ``start`` comes first."""
        assert self._working is not None, "not started"
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([waiting, self._working], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        failed = self._working.done()
        await self.stop()
        if failed:
            self._working.result()  # raises what it died of

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """An answer for those who want no websocket, or for whom there is no room."""
        if "Upgrade" not in request.headers:
            return self._pages.answer(request.path, self.health, self.offer.contexts)
        if len(self._clients) < self.limits.max_connections:
            return None
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._full}\n")

    @property
    def _full(self) -> str:
        return f"{self.limits.max_connections} clients are connected: try again later"

    async def _serve(self, socket: ServerConnection) -> None:
        """One client, from its first message to its last one."""
        if len(self._clients) >= self.limits.max_connections:
            return await self._refuse(socket, Refused(TRY_LATER, self._full))
        self._clients[socket] = session = None
        try:
            choice = self._choice(socket)
            session = self._clients[socket] = await self._open(choice)
            with self._keeper.call(choice.context) as keep:
                incoming = Incoming(choice.audio, self.offer.sample_rate, keep)
                await self._converse(socket, session, incoming)
        except Refused as refused:
            await self._refuse(socket, refused)
        except ConnectionClosed:
            pass  # a client may leave when it likes
        finally:
            del self._clients[socket]
            if session:
                self.worker.drop(session)

    def _choice(self, socket: ServerConnection) -> Choice:
        assert socket.request is not None, "the handshake is over"
        return self.offer.parse(socket.request.path)

    async def _open(self, choice: Choice) -> Session:
        """A session as the client wants it."""
        try:
            recognizer = self.offer.recognizer(choice) or await self.worker.prepare(
                partial(self.offer.make, choice)
            )
        except ValueError as error:
            raise Refused(POLICY, str(error)) from None
        return self.worker.open(recognizer, choice.provisional, choice.words)

    async def _converse(
        self, socket: ServerConnection, session: Session, incoming: Incoming
    ) -> None:
        """Listens and tells; ends when everything is said, or the first of the two fails."""
        listening = asyncio.create_task(self._listen(socket, session, incoming))
        telling = asyncio.create_task(self._tell(socket, session))
        try:
            await asyncio.wait([listening, telling], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                await telling
                await asyncio.wait([listening], timeout=self.limits.farewell_timeout)
            if listening.done():
                await listening
        finally:
            for task in (listening, telling):
                task.cancel()
            await asyncio.gather(listening, telling, return_exceptions=True)

    async def _listen(self, socket: ServerConnection, session: Session, incoming: Incoming) -> None:
        """Queues audio until ``Done``, or silence; then nothing but a farewell may come."""
        idle = ""
        while not session.ended:
            await session.room.wait()
            try:
                async with asyncio.timeout(self.limits.idle_timeout):
                    message = await socket.recv()
            except TimeoutError:
                idle = f"no message for {self.limits.idle_timeout:g} s"
                message = END_OF_AUDIO  # what it has said is not lost
            if isinstance(message, bytes):
                self.worker.accept(session, incoming.read(message))
            else:
                check_text(message)
                self.worker.accept(session, incoming.rest())
                self.worker.end(session)
        if not idle:
            await socket.recv()
        await session.said.wait()
        raise Refused(POLICY, idle or f"nothing may follow {END_OF_AUDIO}; it was not heard")

    async def _tell(self, socket: ServerConnection, session: Session) -> None:
        last = False
        while not last:
            message, last = await session.news()
            await self._send(socket, message)
        await self._send(socket, END_OF_WORDS)
        session.said.set()

    async def _send(self, socket: ServerConnection, message: str) -> None:
        try:
            async with asyncio.timeout(self.limits.idle_timeout):
                await socket.send(message)
        except TimeoutError:
            reason = f"no message read for {self.limits.idle_timeout:g} s"
            raise Refused(POLICY, reason) from None

    async def _refuse(self, socket: ServerConnection, refused: Refused) -> None:
        try:
            async with asyncio.timeout(self.limits.farewell_timeout):
                with suppress(ConnectionClosed):
                    await socket.send(error_message(refused.reason))
                await socket.close(refused.code, refused.short_reason)
        except TimeoutError:
            socket.transport.abort()
