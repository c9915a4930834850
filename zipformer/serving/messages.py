"""What server and client say to each other: the protocol of sherpa-onnx's websocket server.

The client sends binary messages of float32 samples (little-endian, one channel, at the model's
rate) and then the text ``Done``. The server sends JSON objects, the last one with ``is_eof``, and
then the text ``Done!``:

    text, tokens, timestamps   what is final in this segment; seconds from the segment's start_time
    segment, start_time        always 0: a stream is one segment
    is_final, final, is_eof    whether nothing will follow
    provisional                what follows the text as it looks now; the next message replaces it
    confidence                 a probability for each token
    error                      instead of all these: why the server closes the connection
"""

from __future__ import annotations

import json
import math

import numpy as np

from zipformer.context import OUTPUT_FRAME_SECONDS
from zipformer.streaming.stream import Stream
from zipformer.tokens.pieces import WORD_START

END_OF_AUDIO = "Done"
END_OF_WORDS = "Done!"
LOUDEST = 100.0  # full scale is 1; what is far above it is no audio, or 16-bit integers

GOING_AWAY = 1001  # close codes of RFC 6455
UNSUPPORTED = 1003
INVALID = 1007
POLICY = 1008
INTERNAL = 1011
TRY_LATER = 1013
LONGEST_REASON = 123  # bytes that a close frame has room for


class Refused(Exception):
    """Why a connection is closed.

    Args:
        code: Close code of the websocket.
        reason: For a person.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason

    @property
    def short_reason(self) -> str:
        """As much of the reason as a close frame holds."""
        return self.reason.encode()[:LONGEST_REASON].decode(errors="ignore")


def read_samples(message: bytes) -> np.ndarray:
    """The (N,) float32 samples of a binary message.

    Raises:
        Refused: If the bytes cannot be audio.
    """
    if len(message) % 4:
        raise Refused(
            INVALID, f"{len(message)} bytes are not float32 samples: send 4 bytes for each sample"
        )
    samples = np.frombuffer(message, dtype="<f4")
    with np.errstate(invalid="ignore"):
        possible = np.abs(samples) <= LOUDEST  # False for NaN, too
    if not possible.all():
        bad = int(np.flatnonzero(~possible)[0])
        raise Refused(
            INVALID,
            f"sample {bad} of {len(samples)} is {samples[bad]:g}: send float32 in [-1, 1] "
            "(16-bit integers divided by 32768)",
        )
    return samples


def check_text(message: str) -> None:
    """Refuses every text but ``Done``."""
    if message.strip() != END_OF_AUDIO:
        raise Refused(
            UNSUPPORTED,
            f"unknown text {message[:20]!r}: send float32 samples as binary messages, "
            f"then the text {END_OF_AUDIO}",
        )


def result_message(stream: Stream) -> str:
    """What a stream has heard so far, as JSON; of a closed stream it is the last message.

    Args:
        stream: Any; no step may be running on it.

    Raises:
        ValueError: If a probability is not a number.
    """
    final, last = stream.final, stream.closed
    content = {
        "text": stream.text,
        "tokens": [stream.pieces[token].replace(WORD_START, " ") for token in final.tokens],
        "timestamps": [round(frame * OUTPUT_FRAME_SECONDS, 2) for frame in final.frames],
        "confidence": [round(math.exp(value), 4) for value in final.log_probs],
        "provisional": stream.provisional,
        "segment": 0,
        "start_time": 0.0,
        "is_final": last,
        "final": last,
        "is_eof": last,
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def error_message(reason: str) -> str:
    """A refusal as JSON."""
    return json.dumps({"error": reason}, ensure_ascii=False)
