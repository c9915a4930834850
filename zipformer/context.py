"""Context: how much audio the encoder sees at a time.

The one unit is the frame of 10 ms, here and everywhere else that a person types or reads a size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FRAME_MS = 10
FRAME_SECONDS = FRAME_MS / 1000
FRAMES_PER_OUTPUT = 4  # an encoder returns one output frame for so many
OUTPUT_FRAME_SECONDS = FRAMES_PER_OUTPUT * FRAME_MS / 1000
FRONTEND_LOOKAHEAD = 13  # frames that the convolutional frontend needs beyond those it returns
UNLIMITED = -1


@dataclass(frozen=True)
class Context:
    """Chunk, left context and right context of one forward pass, in frames of 10 ms.

    The encoder works on ``chunk`` new frames at a time, attends to ``left`` frames before them and
    looks at ``right`` frames after them, which it will compute again as part of later chunks.

    Args:
        chunk: New frames per step; -1 for the whole utterance at once (left and right then mean
            nothing, and the context equals ``Context.full()``).
        left: Frames of history; -1 for all of it.
        right: Frames of look-ahead beyond the chunk.

    Raises:
        ValueError: If a size is negative (other than the -1 above) or the chunk is zero.

    Example:
        >>> Context(32, 256, 64).latency_ms
        1090
        >>> Context(-1, 128, 64) == Context.full()
        True
    """

    chunk: int
    left: int
    right: int = 0

    def __post_init__(self) -> None:
        for name in ("chunk", "left", "right"):
            value = getattr(self, name)
            lowest = 0 if name == "right" else UNLIMITED
            if not isinstance(value, int) or value < lowest:
                raise ValueError(f"context: {name} must be an integer >= {lowest}, got {value!r}")
        if self.chunk == 0:
            raise ValueError("context: chunk must not be 0; use -1 for the whole utterance")
        if self.chunk == UNLIMITED:
            object.__setattr__(self, "left", UNLIMITED)
            object.__setattr__(self, "right", 0)

    @classmethod
    def full(cls) -> Context:
        """The whole utterance at once."""
        return cls(UNLIMITED, UNLIMITED, 0)

    @classmethod
    def parse(cls, text: str) -> Context:
        """Reads ``full``, ``32/256`` or ``32/256/64`` (``inf`` and -1 mean unlimited).

        Raises:
            ValueError: If the text is none of these.
        """
        if text.strip() == "full":
            return cls.full()
        parts = text.strip().split("/")
        try:
            sizes = [UNLIMITED if p == "inf" else int(p) for p in parts]
        except ValueError:
            sizes = []
        if len(sizes) not in (2, 3):
            raise ValueError(
                f"context {text!r}: write 'full' or chunk/left/right in frames, as in 32/256/64"
            )
        return cls(*sizes)

    @property
    def is_full(self) -> bool:
        """Whether the whole utterance is seen at once."""
        return self.chunk == UNLIMITED

    @property
    def streams(self) -> bool:
        """Whether a live stream can run with it: chunk and left context are finite."""
        return not self.is_full and self.left != UNLIMITED

    @property
    def window(self) -> int:
        """Frames that one step computes: chunk and right context."""
        return self.chunk + self.right

    @property
    def latency_ms(self) -> int | None:
        """Algorithmic latency: audio between the start of a chunk and its words; None when full."""
        return None if self.is_full else FRAME_MS * (self.window + FRONTEND_LOOKAHEAD)

    @property
    def slug(self) -> str:
        """The name used in folders: ``full`` or ``C-L-R``, unlimited written ``inf``."""
        return str(self).replace("/", "-")

    def __str__(self) -> str:
        if self.is_full:
            return "full"
        left = "inf" if self.left == UNLIMITED else self.left
        return f"{self.chunk}/{left}/{self.right}"

    def describe(self) -> str:
        """The context for a person, each size with its milliseconds."""
        if self.is_full:
            return "full (whole utterance)"
        left = "unlimited" if self.left == UNLIMITED else _with_ms(self.left)
        return f"chunk {_with_ms(self.chunk)}, left {left}, right {_with_ms(self.right)}"

    def check(self, unit: int, min_left: int) -> None:
        """Refuses a context that an encoder cannot compute exactly.

        Args:
            unit: Frames that chunk, left and right must be multiples of.
            min_left: Fewest frames of left context, what the convolutions reach back.

        Raises:
            ValueError: Naming the size and the nearest allowed values.
        """
        if self.is_full:
            return
        for name, lowest in (("chunk", unit), ("right", 0)):
            size = getattr(self, name)
            if size % unit:
                raise ValueError(
                    f"context {self}: {name} {size} is not a multiple of {unit} frames; "
                    f"nearest allowed: {_nearest(size, unit, lowest)}"
                )
        if self.left == UNLIMITED:
            return
        lowest = _round_up(min_left, self.chunk)
        if self.left % self.chunk:
            raise ValueError(
                f"context {self}: left {self.left} is not a multiple of the chunk {self.chunk}; "
                f"nearest allowed: {_nearest(self.left, self.chunk, lowest)}"
            )
        if self.left < min_left:
            raise ValueError(
                f"context {self}: left {self.left} is shorter than the {min_left} frames that the "
                f"convolutions reach back; nearest allowed: {lowest}"
            )


def output_frames(frames: int) -> int:
    """Output frames (25 Hz) that an encoder makes of so many frames, never negative.

    The frontend halves their number and loses 7 at the edges; its frames are halved again.
    """
    return (max(0, frames - 7) // 2 + 1) // 2


def frontend_lengths(lengths: Tensor) -> Tensor:
    """Frames at 50 Hz that the frontend makes of each of (...) frames, never negative."""
    return torch.div(lengths - 7, 2, rounding_mode="floor").clamp(min=0)


def output_lengths(lengths: Tensor) -> Tensor:
    """``output_frames`` of each of (...) frames.

    A function of its own, not a case of that one: exports trace sizes as tensors, and would have
    this arithmetic in their graphs wherever a size is meant.
    """
    return torch.div(frontend_lengths(lengths) + 1, 2, rounding_mode="floor")


def parse_contexts(text: str | Sequence[str]) -> list[Context]:
    """Reads several contexts, separated by blanks (or given as a list); keeps their order."""
    parts = text.split() if isinstance(text, str) else list(text)
    return [Context.parse(part) for part in parts]


def _with_ms(frames: int) -> str:
    return f"{frames} ({frames * FRAME_MS} ms)"


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _nearest(size: int, unit: int, lowest: int) -> str:
    below = max(lowest, size // unit * unit)
    above = max(lowest, _round_up(size, unit))
    return " or ".join(str(s) for s in sorted({below, above}))
