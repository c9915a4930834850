"""Streams of many clients, recognised in batched steps by one thread.

The event loop takes audio in, hands it to the streams between two turns and passes on what they
have heard; the thread only computes. A turn takes one step of every stream that has heard enough
and ends those whose audio is complete. Audio that arrives meanwhile waits for the next turn, so
that batches grow with the load.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from zipformer.serving.messages import INTERNAL, Refused, result_message
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import Stream

logger = logging.getLogger(__name__)


class Session:
    """One client: its stream, the audio that waits for it, and the news for the client.

    There is room for one piece of news: a client that is slow to read gets the newest one.

    Args:
        stream: That has heard nothing yet.
        most_waiting: Samples that may wait before ``room`` is closed.
        message: What would be no news now.
    """

    def __init__(self, stream: Stream, most_waiting: int, message: str = "") -> None:
        self.stream = stream
        self.ended = False  # whether the client has sent everything
        self.said = asyncio.Event()  # whether the client has got everything
        self.room = asyncio.Event()
        self.room.set()
        self._most_waiting = most_waiting
        self.waiting = 0
        self._pieces: deque[np.ndarray] = deque()
        self._news = asyncio.Event()
        self._message = message
        self._last = False
        self._failure: Refused | None = None

    @property
    def exhausted(self) -> bool:
        """Whether all audio that there will ever be is in the stream."""
        return self.ended and not self._pieces

    def accept(self, samples: np.ndarray, longest: int) -> None:
        """Queues (N,) samples in pieces of at most ``longest``."""
        self._pieces.extend(samples[i : i + longest] for i in range(0, len(samples), longest))
        self.waiting += len(samples)
        self._open_or_close()

    def fill(self, frames: int) -> None:
        """Gives the stream audio until it has ``frames`` to work on or nothing waits."""
        while self._pieces and self.stream.waiting_frames < frames:
            piece = self._pieces.popleft()
            self.waiting -= len(piece)
            self.stream.accept(piece)
        self._open_or_close()

    def tell(self, message: str, last: bool = False) -> None:
        """Replaces the news, if it is any; nothing follows the last one."""
        if last or message != self._message:
            self._message, self._last = message, last
            self._news.set()

    def fail(self, failure: Refused) -> None:
        """Says that there will be no more news, and why."""
        self._failure = failure
        self._news.set()

    async def news(self) -> tuple[str, bool]:
        """Waits for news: the message, and whether it is the last one.

        Raises:
            Refused: If the session has failed.
        """
        await self._news.wait()
        self._news.clear()
        if self._failure:
            raise self._failure
        return self._message, self._last

    def _open_or_close(self) -> None:
        if self.waiting <= self._most_waiting:
            self.room.set()
        else:
            self.room.clear()


@dataclass
class _Turn:
    """What the thread is to do: steps of some streams, the end of others."""

    stepping: list[Session] = field(default_factory=list)
    closing: list[Session] = field(default_factory=list)

    @property
    def sessions(self) -> list[Session]:
        return self.closing + self.stepping


class Worker:
    """Recognises for sessions; everything but ``run`` returns at once.

    Args:
        recognizer: Used by nobody else.
        max_batch: Streams in one step; the others take turns.
        max_waiting_seconds: Audio of a session that may wait before it is out of room.
        provisional: Whether messages say how the text may go on.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        max_batch: int,
        max_waiting_seconds: float,
        provisional: bool = True,
    ) -> None:
        self.recognizer, self.max_batch = recognizer, max_batch
        self._most_waiting = round(max_waiting_seconds * recognizer.sample_rate)
        self._provisional = provisional
        self._sessions: set[Session] = set()
        self._pending: dict[Session, None] = {}  # with audio or an end to see to, in turn
        self._work = asyncio.Event()

    @property
    def open_streams(self) -> int:
        """Streams that are held for clients."""
        return len(self._sessions)

    def open(self) -> Session:
        """A session for a new client."""
        stream = self.recognizer.open()
        session = Session(stream, self._most_waiting, result_message(stream))
        self._sessions.add(session)
        return session

    def accept(self, session: Session, samples: np.ndarray) -> None:
        """Queues (N,) float32 samples."""
        session.accept(samples, self.recognizer.sample_rate)
        self._see_to(session)

    def end(self, session: Session) -> None:
        """Says that the client has sent everything."""
        session.ended = True
        self._see_to(session)

    def drop(self, session: Session) -> None:
        """Forgets a session, whatever state it is in."""
        self._sessions.discard(session)
        self._pending.pop(session, None)

    async def run(self) -> None:
        """Works until it is cancelled; a turn that has begun is finished first."""
        with ThreadPoolExecutor(1, "recognizer") as thread:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._pending:
                    turn = self._next_turn()
                    if turn.sessions:
                        await self._take(turn, thread)

    def _see_to(self, session: Session) -> None:
        if session in self._sessions:
            self._pending[session] = None
            self._work.set()

    def _next_turn(self) -> _Turn:
        """The sessions that have waited longest; those with nothing to do leave the queue."""
        turn, idle = _Turn(), []
        for session in self._pending:
            session.fill(self.recognizer.step_frames)
            if session.exhausted:
                turn.closing.append(session)
            elif session.stream.waiting_frames >= self.recognizer.step_frames:
                turn.stepping.append(session)
            else:
                idle.append(session)
            if self.max_batch in (len(turn.closing), len(turn.stepping)):
                break
        for session in idle + turn.sessions:
            del self._pending[session]
        self._pending |= dict.fromkeys(turn.stepping)  # there may be more to do, after the others
        return turn

    async def _take(self, turn: _Turn, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        messages: list[str | None]
        try:
            messages = await loop.run_in_executor(thread, self._compute, turn)
        except Exception:
            logger.exception("a step of %d streams failed", len(turn.sessions))
            messages = [None] * len(turn.sessions)
        for session, message in zip(turn.sessions, messages, strict=True):
            if message is None:
                session.fail(Refused(INTERNAL, "the recognizer failed"))
                self._pending.pop(session, None)
            else:
                session.tell(message, last=session.stream.closed)

    def _compute(self, turn: _Turn) -> list[str | None]:
        """In the thread: the turn's messages, in the order of its sessions; None if impossible."""
        self.recognizer.close([session.stream for session in turn.closing])
        moved = self.recognizer.step([session.stream for session in turn.stepping])
        if self._provisional:
            self.recognizer.look_ahead(moved)
        messages: list[str | None] = []
        for session in turn.sessions:
            try:
                messages.append(result_message(session.stream))
            except ValueError:
                logger.exception("a stream of %d tokens", len(session.stream.final.tokens))
                messages.append(None)
        return messages
