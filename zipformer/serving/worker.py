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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from zipformer.serving.messages import INTERNAL, POLICY, Refused, result_message
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import Stream

logger = logging.getLogger(__name__)


class Session:
    """One client: its stream, the audio that waits for it, and the news for the client.

    There is room for one piece of news: a client that is slow to read gets the newest one.

    Args:
        recognizer: Of its stream, which has heard nothing yet.
        most_waiting: Samples that may wait before ``room`` is closed.
        longest: Seconds of audio that are heard in all; None = any.
        provisional: Whether messages say how the text may go on.
        words: Whether messages list the words with their times.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        most_waiting: int,
        longest: float | None = None,
        provisional: bool = True,
        words: bool = False,
    ) -> None:
        self.recognizer = recognizer
        self.stream: Stream = recognizer.open()
        self.longest = longest
        self.provisional, self.words = provisional, words
        self.ended = False  # whether the client has sent everything
        self.said = asyncio.Event()  # whether the client has got everything
        self.room = asyncio.Event()
        self.room.set()
        self._most_waiting = most_waiting
        self.waiting = 0
        self._pieces: deque[np.ndarray] = deque()
        self._news = asyncio.Event()
        self._message = self.message()  # what would be no news now
        self._last = False
        self._failure: Refused | None = None

    @property
    def exhausted(self) -> bool:
        """Whether all audio that there will ever be is in the stream."""
        return self.ended and not self._pieces

    def accept(self, samples: np.ndarray) -> None:
        """Queues (N,) samples in pieces of at most a second.

        Raises:
            Refused: If that is more than is heard in all.
        """
        second = self.recognizer.sample_rate
        heard = self.stream.audio.num_samples + self.waiting + len(samples)
        if self.longest is not None and heard > self.longest * second:
            raise Refused(
                POLICY,
                f"more than {self.longest:g} s: at full context an utterance is heard as a whole "
                "and may last so long; choose a context that streams",
            )
        self._pieces.extend(samples[i : i + second] for i in range(0, len(samples), second))
        self.waiting += len(samples)
        self._open_or_close()

    @property
    def ready(self) -> bool:
        """Whether the stream has heard enough for a step."""
        return self.stream.waiting_frames >= self.recognizer.step_frames

    @property
    def waiting_seconds(self) -> float:
        """Audio that has come in and that the stream has not heard yet."""
        return self.waiting / self.recognizer.sample_rate

    def fill(self) -> None:
        """Gives the stream audio until it has enough for a step or nothing waits."""
        while self._pieces and not self.ready:
            piece = self._pieces.popleft()
            self.waiting -= len(piece)
            self.stream.accept(piece)
        self._open_or_close()

    def message(self) -> str:
        """What the stream has heard, as the client wants it; no step may be running on it."""
        return result_message(self.stream, self.words)

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

    Attributes:
        steps: Of streams, since the start.
    """

    def __init__(
        self, max_batch: int, max_waiting_seconds: float, max_whole_seconds: float = 60.0
    ) -> None:
        self.max_batch, self._max_waiting_seconds = max_batch, max_waiting_seconds
        self._max_whole_seconds = max_whole_seconds
        self.steps = 0
        self._thread = ThreadPoolExecutor(1, "recognizer")
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
        """Makes a recognizer between two turns: no step runs meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, make)

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
        session = Session(recognizer, most_waiting, longest, provisional, words)
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
        with self._thread:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._pending:
                    turn = self._next_turn()
                    if turn.sessions:
                        await self._take(turn)

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
        messages: list[str | None]
        try:
            messages = await loop.run_in_executor(self._thread, self._compute, turn)
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
        recognizer = turn.sessions[0].recognizer
        recognizer.close([session.stream for session in turn.closing])
        recognizer.step([session.stream for session in turn.stepping])
        recognizer.look_ahead(s.stream for s in turn.stepping if s.provisional)
        self.steps += len(turn.stepping)
        messages: list[str | None] = []
        for session in turn.sessions:
            try:
                messages.append(session.message())
            except ValueError:
                logger.exception("a stream of %d tokens", len(session.stream.final.tokens))
                messages.append(None)
        return messages
