"""A stream with its recognizer at hand, for those who have one stream at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from zipformer.biasing import Hotwords
from zipformer.streaming.samples import Samples
from zipformer.streaming.stream import Stream, StreamResult


class ActsOnStreams(Protocol):
    """What a stream asks of its recognizer; see ``Recognizer``."""

    tokens: list[str]
    sample_rate: int
    num_features: int

    def accept(self, stream: Stream, samples: Samples, sample_rate: int | None = None) -> None:
        """Takes audio in."""
        ...

    def advance(self, streams: Iterable[Stream]) -> list[Stream]:
        """Recognises what is complete."""
        ...

    def look_ahead(self, streams: Iterable[Stream]) -> None:
        """Says what may follow."""
        ...

    def prefer(self, stream: Stream, hotwords: Hotwords | None) -> None:
        """Prefers other phrases from now on."""
        ...

    def close(self, streams: Sequence[Stream], flush: bool = True) -> list[StreamResult]:
        """Ends the input."""
        ...


class LiveStream(Stream):
    """A stream that a recognizer has opened.

    Args:
        recognizer: Acts on the stream.
    """

    def __init__(self, recognizer: ActsOnStreams) -> None:
        super().__init__(recognizer.tokens, recognizer.sample_rate, recognizer.num_features)
        self._recognizer = recognizer

    def push(self, samples: Samples, sample_rate: int | None = None) -> None:
        """Hears more audio, recognises what is complete, and what may follow.

        Arguments and errors as in ``Recognizer.accept``.
        """
        self._recognizer.accept(self, samples, sample_rate)
        self._recognizer.look_ahead(self._recognizer.advance([self]))

    def prefer(self, hotwords: Hotwords | None) -> None:
        """Prefers other phrases from the next chunk on; see ``Recognizer.prefer``."""
        self._recognizer.prefer(self, hotwords)

    def close(self) -> StreamResult:
        """Ends the input: the rest is recognised, with the right context that there is."""
        return self._recognizer.close([self])[0]
