"""What server and client say to each other: the protocol of sherpa-onnx's websocket server.

The client sends samples as binary messages, by default float32 at the model's rate (one channel,
little-endian), and then the text ``Done``. The server sends JSON objects, the last one with
``is_eof``, and then the text ``Done!``:

    text, tokens, timestamps   what is final in this segment; seconds from the segment's start_time
    segment, start_time        0 unless the server ends segments at pauses
    is_final, final            whether nothing will follow in this segment
    is_eof                     whether nothing will follow at all
    provisional                what follows the text as it looks now; the next message replaces it
    confidence                 a probability for each token
    words                      if asked for: text, start, end (seconds) and confidence of each word
    error                      instead of all these: why the server closes the connection
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import soxr

from zipformer.context import OUTPUT_FRAME_SECONDS
from zipformer.streaming.stream import Stream
from zipformer.tokens.pieces import WORD_START

END_OF_AUDIO = "Done"
END_OF_WORDS = "Done!"

GOING_AWAY = 1001  # close codes of RFC 6455
UNSUPPORTED = 1003
INVALID = 1007
POLICY = 1008
TOO_LONG = 1009
INTERNAL = 1011
TRY_LATER = 1013
LONGEST_REASON = 123  # bytes that a close frame has room for

Encoding = Literal["float32", "int16"]
ENCODINGS = get_args(Encoding)
LOUDEST = 100.0  # full scale is 1; what is far above it is no audio, or 16-bit integers
FULL_SCALE = 32768  # of 16-bit integers
RATES = range(4000, 192_001)  # Hz


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


@dataclass(frozen=True)
class AudioFormat:
    """How samples come in, one channel of them, little-endian.

    Args:
        rate: In Hz; None is the model's.
        encoding: Of a sample.
    """

    rate: int | None = None
    encoding: Encoding = "float32"


class Incoming:
    """The binary messages of one client as samples that the model can hear.

    Another rate is brought to the model's by soxr as the audio comes. Together the pieces are what
    resampling the whole recording gives.

    Args:
        audio: How the client sends it.
        sample_rate: That the model hears, in Hz.
        keep: Is given the samples, too.
    """

    def __init__(
        self,
        audio: AudioFormat,
        sample_rate: int,
        keep: Callable[[np.ndarray], object] | None = None,
    ) -> None:
        self._audio, self._keep = audio, keep
        rate = audio.rate or sample_rate
        self._resampler = (
            None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32")
        )

    def read(self, message: bytes) -> np.ndarray:
        """The (N,) float32 samples that a message adds, full scale at +-1.

        Raises:
            Refused: If the bytes cannot be audio.
        """
        return self._heard(read_samples(message, self._audio.encoding), last=False)

    def rest(self) -> np.ndarray:
        """The (N,) samples that the resampler has kept back, when nothing will follow."""
        return self._heard(np.zeros(0, np.float32), last=True)

    def _heard(self, samples: np.ndarray, last: bool) -> np.ndarray:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last)
        if self._keep is not None:
            self._keep(samples)
        return samples


def read_samples(message: bytes, encoding: Encoding = "float32") -> np.ndarray:
    """The (N,) float32 samples of a binary message.

    Raises:
        Refused: If the bytes cannot be audio.
    """
    size = np.dtype(encoding).itemsize
    if len(message) % size:
        raise Refused(
            INVALID,
            f"{len(message)} bytes are not {encoding} samples: send {size} bytes for each sample",
        )
    if encoding == "int16":
        return np.frombuffer(message, dtype="<i2").astype(np.float32) / FULL_SCALE
    samples = np.frombuffer(message, dtype="<f4")
    with np.errstate(invalid="ignore"):
        possible = np.abs(samples) <= LOUDEST  # False for NaN, too
    if not possible.all():
        bad = int(np.flatnonzero(~possible)[0])
        raise Refused(
            INVALID,
            f"sample {bad} of {len(samples)} is {samples[bad]:g}: send float32 in [-1, 1] "
            "(16-bit integers divided by 32768), or connect with ?format=int16",
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


def result_message(stream: Stream, words: bool = False, ends: bool = False) -> str:
    """What a segment of a stream has so far, as JSON; of a closed stream it is the last message.

    Args:
        stream: Any; no step may be running on it.
        words: Whether to list the words with their times.
        ends: Whether the segment ends with it, and another one follows.

    Raises:
        ValueError: If a probability is not a number.
    """
    final, last, ends = stream.final, stream.closed, ends or stream.closed
    content = {
        "text": stream.text,
        "tokens": [stream.pieces[token].replace(WORD_START, " ") for token in final.tokens],
        "timestamps": [round(frame * OUTPUT_FRAME_SECONDS, 2) for frame in final.frames],
        "confidence": [round(math.exp(value), 4) for value in final.log_probs],
        "provisional": "" if ends else stream.provisional,
        "segment": stream.segment,
        "start_time": round(stream.segment_start, 2),
        "is_final": ends,
        "final": ends,
        "is_eof": last,
    }
    if words:
        content["words"] = [asdict(word) for word in stream.result.words]
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def error_message(reason: str) -> str:
    """A refusal as JSON."""
    return json.dumps({"error": reason}, ensure_ascii=False)
