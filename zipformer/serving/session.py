"""One client of a server: its stream, the audio that waits for it, and the news for it."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np

from zipformer.serving.messages import POLICY, Refused, result_message
from zipformer.streaming import Endpoint, Recognizer, Stream


class Session:
    """One client: its stream, the audio that waits for it, and the news for the client.

    There is room for one piece of news: a client that is slow to read gets the newest one. What
    ends a segment waits until it has been read.

    Args:
        recognizer: Of its stream, which has heard nothing yet.
        most_waiting: Samples that may wait before ``room`` is closed.
        longest: Seconds of audio that are heard in all; None = any.
        provisional: Whether messages say how the text may go on.
        words: Whether messages list the words with their times.
        endpoint: When a segment ends; None = never.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        most_waiting: int,
        longest: float | None = None,
        provisional: bool = True,
        words: bool = False,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.stream: Stream = recognizer.open()
        self.longest = longest
        self.provisional, self.words, self.endpoint = provisional, words, endpoint
        self.ended = False  # whether the client has sent everything
        self.said = asyncio.Event()  # whether the client has got everything
        self.room = asyncio.Event()
        self.room.set()
        self._most_waiting = most_waiting
        self.waiting = 0
        self._pieces: deque[np.ndarray] = deque()
        self._ended: deque[str] = deque()  # last messages of segments, to be told
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

    def cut(self) -> str | None:
        """After a step: ends the segment if it is time, and returns its last message."""
        if self.endpoint is None or not self.endpoint.is_due(self.recognizer, self.stream):
            return None
        self.endpoint.settle(self.recognizer, self.stream)
        message = result_message(self.stream, self.words, ends=True)
        self.stream.begin_segment(self.endpoint.reset)
        return message

    def tell_end(self, message: str) -> None:
        """Adds the last message of a segment to the news."""
        self._ended.append(message)
        self._news.set()

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
        if self._ended:  # what replaces nothing comes first; there is more news after it
            return self._ended.popleft(), False
        self._news.clear()
        if self._failure:
            raise self._failure
        return self._message, self._last

    def _open_or_close(self) -> None:
        if self.waiting <= self._most_waiting:
            self.room.set()
        else:
            self.room.clear()
