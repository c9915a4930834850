"""Streams of many clients, recognised in batched steps by one thread.

The event loop takes audio in, hands it to the streams between two turns and passes on what they
have heard; the thread only computes. A turn takes one step of every stream that has heard enough
and ends those whose audio is complete. Audio that arrives meanwhile waits for the next turn, so
that batches grow with the load. Recognizers that are needed for the first time are made in a second
thread, as that takes seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from zipformer.serving.messages import INTERNAL, Refused
from zipformer.serving.session import Session
from zipformer.streaming import Endpoint, Recognizer

logger = logging.getLogger(__name__)


_Messages = tuple[str | None, str]  # what ends a segment, and how the running one stands


@dataclass
class _Turn:
    """What the thread is to do with streams of one recognizer: steps, and the end of others."""

    stepping: list[Session] = field(default_factory=list)
    closing: list[Session] = field(default_factory=list)

    @property
    def sessions(self) -> list[Session]:
        return self.closing + self.stepping


class Worker:
    """Recognises for sessions; everything but ``run`` returns at once.

    Sessions may be of several recognizers: a turn is for those of one, the one whose session has
    waited longest.

    Args:
        max_batch: Streams in one step; the others take turns.
        max_waiting_seconds: Audio of a session that may wait before it is out of room.
        max_whole_seconds: Audio of a session that is heard as a whole utterance.
        endpoint: When segments of sessions end; None = never.

    Attributes:
        steps: Of streams, since the start.
    """

    def __init__(
        self,
        max_batch: int,
        max_waiting_seconds: float,
        max_whole_seconds: float = 60.0,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.max_batch, self._max_waiting_seconds = max_batch, max_waiting_seconds
        self._max_whole_seconds, self._endpoint = max_whole_seconds, endpoint
        self.steps = 0
        self._thread = ThreadPoolExecutor(1, "recognizer")
        self._preparing = ThreadPoolExecutor(1, "preparing")
        self._sessions: set[Session] = set()
        self._pending: dict[Session, None] = {}  # with audio or an end to see to, in turn
        self._work = asyncio.Event()

    @property
    def open_streams(self) -> int:
        """Streams that are held for clients."""
        return len(self._sessions)

    @property
    def lag(self) -> float:
        """Seconds of audio that wait for the stream that is furthest behind."""
        return max((session.waiting_seconds for session in self._sessions), default=0.0)

    async def prepare(self, make: Callable[[], Recognizer]) -> Recognizer:
        """Makes recognizers one after the other, while the steps of others go on."""
        return await asyncio.get_running_loop().run_in_executor(self._preparing, make)

    def open(
        self, recognizer: Recognizer, provisional: bool = True, words: bool = False
    ) -> Session:
        """A session for a new client.

        Args:
            recognizer: Used by nobody else but this worker.
            provisional, words: As in ``Session``.
        """
        most_waiting = round(self._max_waiting_seconds * recognizer.sample_rate)
        longest = None if recognizer.live else self._max_whole_seconds
        session = Session(recognizer, most_waiting, longest, provisional, words, self._endpoint)
        self._sessions.add(session)
        return session

    def accept(self, session: Session, samples: np.ndarray) -> None:
        """Queues (N,) float32 samples; ``Refused`` as in ``Session.accept``."""
        session.accept(samples)
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
        try:
            with self._thread:
                while True:
                    await self._work.wait()
                    self._work.clear()
                    while self._pending:
                        turn = self._next_turn()
                        if turn.sessions:
                            await self._take(turn)
        finally:
            self._preparing.shutdown(wait=False, cancel_futures=True)

    def _see_to(self, session: Session) -> None:
        if session in self._sessions:
            self._pending[session] = None
            self._work.set()

    def _next_turn(self) -> _Turn:
        """The sessions that have waited longest; those with nothing to do leave the queue."""
        turn, idle = _Turn(), []
        for session in self._pending:
            if turn.sessions and session.recognizer is not turn.sessions[0].recognizer:
                continue
            session.fill()
            if session.exhausted:
                turn.closing.append(session)
            elif session.ready:
                turn.stepping.append(session)
            else:
                idle.append(session)
            most = self.max_batch if session.recognizer.live else 1  # a whole one takes long
            if most in (len(turn.closing), len(turn.stepping)):
                break
        for session in idle + turn.sessions:
            del self._pending[session]
        self._pending |= dict.fromkeys(turn.stepping)  # there may be more to do, after the others
        return turn

    async def _take(self, turn: _Turn) -> None:
        loop = asyncio.get_running_loop()
        messages: Sequence[_Messages | None]
        try:
            messages = await loop.run_in_executor(self._thread, self._compute, turn)
        except Exception:
            logger.exception("a step of %d streams failed", len(turn.sessions))
            messages = [None] * len(turn.sessions)
        for session, news in zip(turn.sessions, messages, strict=True):
            if news is None:
                session.fail(Refused(INTERNAL, "the recognizer failed"))
                self._pending.pop(session, None)
                continue
            end, message = news
            if end is not None:
                session.tell_end(end)
            session.tell(message, last=session.stream.closed)

    def _compute(self, turn: _Turn) -> list[_Messages | None]:
        """In the thread: the turn's messages, in the order of its sessions; None if impossible."""
        recognizer = turn.sessions[0].recognizer
        recognizer.close([session.stream for session in turn.closing])
        recognizer.step([session.stream for session in turn.stepping])
        self.steps += len(turn.stepping)
        ends: dict[Session, str | None] = {}
        for session in turn.stepping:
            ends[session] = session.cut()
        recognizer.look_ahead(s.stream for s in turn.stepping if s.provisional)
        messages: list[_Messages | None] = []
        for session in turn.sessions:
            try:
                messages.append((ends.get(session), session.message()))
            except ValueError:
                logger.exception("a stream of %d tokens", len(session.stream.final.tokens))
                messages.append(None)
        return messages
