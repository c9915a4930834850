"""One call to a websocket server: audio goes out as it would from a microphone, words come back.

    call = asyncio.run(transcribe("ws://localhost:6006", samples))
    print(call.text, call.final_latency)

Speaks to the server of this package and to sherpa-onnx's own ``online-websocket-server``. That one
needs silence after the audio to hear the end of it, and begins a new segment at every pause.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from zipformer.serving.messages import END_OF_AUDIO, END_OF_WORDS
from zipformer.serving.sockets import (
    ClientConnection,
    ConnectionClosed,
    WebSocketException,
    connect,
)

Pace = Literal["realtime", "fast"]
PIECE_SECONDS = 0.1
LARGEST_ANSWER = 2**24  # bytes


class CallFailed(Exception):
    """A call that ended without a final transcript; the message says why."""


@dataclass
class Call:
    """What was said to a server, what it answered, and when.

    Times are in seconds of ``time.perf_counter``.

    Args:
        audio_seconds: Length of the audio, without silence added after it.
        started: When the first piece of audio was begun.
        last_audio: When the last piece of audio had been sent; silence and ``Done`` come later.
        finished: When the final transcript had been received.
        lateness: Seconds by which the last piece left later than its pace wants.
        messages: The answers, in order.
    """

    audio_seconds: float
    started: float = 0.0
    last_audio: float = 0.0
    finished: float = 0.0
    lateness: float = 0.0
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words: of each segment what was said of it last, one after another."""
        segments = {m.get("segment", 0): m.get("text", "").strip() for m in self.messages}
        return " ".join(text for _, text in sorted(segments.items()) if text)

    @property
    def final_latency(self) -> float:
        """Seconds from the last audio sent to the final transcript received."""
        return self.finished - self.last_audio

    @property
    def wall_seconds(self) -> float:
        """Seconds from the first audio to the final transcript."""
        return self.finished - self.started

    @property
    def rtf(self) -> float:
        """Real-time factor: how long the call took, over the length of its audio."""
        return self.wall_seconds / self.audio_seconds if self.audio_seconds else math.nan


async def transcribe(
    uri: str,
    samples: np.ndarray,
    pace: Pace = "realtime",
    tail_seconds: float = 0.0,
    timeout: float = 30.0,
    sample_rate: int = 16000,
) -> Call:
    """Makes one call.

    Args:
        uri: As in ``ws://localhost:6006``.
        samples: (N,) float32 in [-1, 1].
        pace: ``realtime`` sends every 100 ms what has been heard in them; ``fast`` does not wait.
        tail_seconds: Silence to send after the audio, at once.
        timeout: Seconds that the call may last beyond the length of its audio.
        sample_rate: Of the samples, and of the server's model.

    Raises:
        CallFailed: If there is no final transcript: the server cannot be reached, refuses the
            call, hangs up, or takes too long.
    """
    call = Call(audio_seconds=len(samples) / sample_rate)
    tail = np.zeros(round(tail_seconds * sample_rate), np.float32)
    try:
        async with asyncio.timeout(timeout + call.audio_seconds):
            async with connect(
                uri,
                compression=None,
                max_size=LARGEST_ANSWER,
                ping_interval=None,  # the time limit finds a dead server, too
                proxy=None,
            ) as socket:
                await _talk(socket, call, _pieces(samples, sample_rate), tail, pace)
    except TimeoutError:
        if not call.finished:
            late = f"no final transcript {timeout:g} s after the audio should have ended"
            raise CallFailed(late) from None
    except (OSError, WebSocketException) as error:
        raise CallFailed(f"{uri} cannot be reached: {error}") from error
    return call


def _pieces(samples: np.ndarray, sample_rate: int) -> list[np.ndarray]:
    size = round(PIECE_SECONDS * sample_rate)
    samples = np.ascontiguousarray(samples, dtype="<f4")
    return [samples[i : i + size] for i in range(0, len(samples), size)]


async def _talk(
    socket: ClientConnection, call: Call, pieces: Sequence[np.ndarray], tail: np.ndarray, pace: Pace
) -> None:
    """Sends and receives at the same time; ends with the final transcript."""
    call.started = call.last_audio = time.perf_counter()
    sending = asyncio.create_task(_send(socket, call, pieces, tail, pace))
    try:
        await _receive(socket, call)
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionClosed):
            await sending


async def _send(
    socket: ClientConnection, call: Call, pieces: Sequence[np.ndarray], tail: np.ndarray, pace: Pace
) -> None:
    due = call.started
    for piece in pieces:
        due += PIECE_SECONDS * len(piece) / len(pieces[0])
        wait = due - time.perf_counter() if pace == "realtime" else 0.0
        await asyncio.sleep(max(0.0, wait))
        await socket.send(piece.tobytes())
        call.last_audio = time.perf_counter()
    call.lateness = max(0.0, call.last_audio - due) if pace == "realtime" else 0.0
    if len(tail):
        await socket.send(tail.tobytes())
    await socket.send(END_OF_AUDIO)


async def _receive(socket: ClientConnection, call: Call) -> None:
    try:
        while (message := await socket.recv()) != END_OF_WORDS:
            answer = read_answer(message)
            call.messages.append(answer)
            if answer.get("is_eof"):
                call.finished = time.perf_counter()
    except ConnectionClosed as closed:
        raise CallFailed(f"the server hung up: {closed}") from closed
    # sherpa-onnx sends no last message if the silence was too short for a last step.
    call.finished = call.finished or time.perf_counter()


def read_answer(message: str | bytes) -> dict[str, Any]:
    """An answer of the server; ``CallFailed`` if it is none, or a refusal."""
    try:
        answer = json.loads(message)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CallFailed(f"the server does not speak the protocol: {message!r:.40}")
    if "error" in answer:
        raise CallFailed(f"the server refuses: {answer['error']}")
    return answer
