"""Where an endless stream is cut into segments: at pauses, or when one has become too long.

endpoint = Endpoint(silence=1.0)
for samples in microphone:
    stream.push(samples)
    if endpoint.is_due(stream):
        print(endpoint.cut(recognizer, stream).text)
"""

from __future__ import annotations

from dataclasses import dataclass

from zipformer.context import OUTPUT_FRAME_SECONDS
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import Stream, StreamResult


@dataclass(frozen=True)
class Endpoint:
    """When a segment ends.

    Args:
        silence: Seconds without a token after the last one; None = a pause ends nothing.
        longest: Seconds of a segment; None = any. What is longer ends where it is, in a word even.
        reset: Whether the next segment begins as a fresh stream, as if the audio before had not
            been; else encoder and search go on, and the words are those without segments.

    Raises:
        ValueError: If a time is not positive.
    """

    silence: float | None = None
    longest: float | None = None
    reset: bool = False

    def __post_init__(self) -> None:
        for name in ("silence", "longest"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ValueError(f"endpoint: {name} must be positive seconds, got {seconds}")

    def is_due(self, recognizer: Recognizer, stream: Stream) -> bool:
        """Whether the stream's segment ends with what it has recognised so far.

        Where a beam search is to go on, it does not end before the hypotheses agree on all words.
        """
        undecided = self._undecided(recognizer, stream)
        if undecided and not self.reset:
            return False
        length = stream.segment_frames * OUTPUT_FRAME_SECONDS
        if self.longest is not None and length >= self.longest:
            return True
        frames = undecided or stream.final.frames
        if self.silence is None or not frames:
            return False
        return length - (frames[-1] + 1) * OUTPUT_FRAME_SECONDS >= self.silence

    def _undecided(self, recognizer: Recognizer, stream: Stream) -> list[int]:
        """Frames, from the segment's beginning, of what the best hypothesis has beyond the text."""
        if stream.search_state is None:
            return []
        return stream.in_segment(recognizer.searcher.hypotheses(stream.search_state)[0].frames)

    def cut(self, recognizer: Recognizer, stream: Stream) -> StreamResult:
        """Ends a segment; the next one begins with the next chunk.

        Args:
            recognizer: Of the stream; it is not stepping it now.
            stream: Open.

        Returns:
            The segment; frames and times are from its beginning.
        """
        self.settle(recognizer, stream)
        result = stream.result
        stream.begin_segment(self.reset)
        return result

    def settle(self, recognizer: Recognizer, stream: Stream) -> None:
        """Makes final what a search that ends here has left open."""
        if self.reset and stream.search_state is not None:
            stream.add(recognizer.searcher.hypotheses(stream.search_state)[0])
