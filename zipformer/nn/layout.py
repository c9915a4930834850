"""How one forward pass cuts an utterance into windows; the mechanism of streaming.

Everything between the frontend and the output works on windows ``(B, K, W, D)``. Window k holds
chunk k and the right context after it. A real stream is a call with one window and a state, a
whole utterance is a call with all of them and no state, and the code is the same: the modules that
look back (attention, convolution) ask ``with_history`` for what lies left of each window.

    K = 3, chunk C, right context R:      |-- C --|-- R --|
                                                  |-- C --|-- R --|
                                                          |-- C --|-- R --|

Without chunks there is one window: the utterance. The masked view of right context is one pass over
the plain utterance; its attention looks R frames ahead in every layer. It is laid out as windows
without right context that attend to what follows them, or, where that is no cheaper, as one window
under a mask.

Letters: B batch, K windows, W frames of a window, C chunk, L left context, A frames looked ahead,
S = L + W + A, D channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer import masks
from zipformer.context import UNLIMITED, Context

Value = TypeVar("Value")


class _Lazy(Generic[Value]):
    """An attribute that is computed when it is first asked for.

    As functools.cached_property, whose lock torch.compile cannot see through.
    """

    def __init__(self, compute: Callable[[Layout], Value]) -> None:
        self.compute = compute

    def __get__(self, layout: Layout, owner: type) -> Value:
        value = layout.__dict__[self.compute.__name__] = self.compute(layout)
        return value


@dataclass(frozen=True)
class Layout:
    """Geometry of a pass at one frame rate; sizes in frames of that rate.

    Args:
        num_windows: K.
        size: W.
        chunk: C, the step between windows.
        left: L, frames of left context in front of each window; 0 where there is one window that
            sees itself alone.
        lengths: (B,) valid frames, counted from the start of window 0; None where all frames of
            all windows exist, as in a step of a stream.
        processed: (B,) frames that came before window 0 (a stream's past), or None.
        mask_sizes: (chunk, left, right) of the attention mask where one window is the masked view,
            else None.
        full: Whether the one window is the utterance, however long that is.
        ahead: A, frames after each window that attention sees as they are in the windows that
            follow: the masked view.
    """

    num_windows: int
    size: int
    chunk: int
    left: int
    lengths: Tensor | None
    processed: Tensor | None = None
    mask_sizes: tuple[int, int, int] | None = None
    full: bool = False
    ahead: int = 0

    @classmethod
    def of_utterance(
        cls, lengths: Tensor, num_frames: int, context: Context, windowed: bool
    ) -> Layout:
        """Lays out whole utterances.

        Args:
            lengths: (B,) frames at 50 Hz.
            num_frames: T, at 50 Hz.
            context: In frames of 10 ms.
            windowed: Overlapping windows, as a stream computes; else one pass under a mask.
        """
        if context.is_full:
            return cls(1, num_frames, num_frames, 0, lengths, full=True)
        chunk, left, right = _at_50_hz(context)
        ahead = 0
        if right == 0 or not windowed:
            if not _windows_are_cheaper(chunk, left, right, num_frames):
                sizes = (chunk, left, right)
                return cls(1, num_frames, num_frames, 0, lengths, mask_sizes=sizes)
            ahead, right = right, 0
        windows = -(-num_frames // chunk)
        if left == UNLIMITED:
            left = (windows - 1) * chunk
        return cls(windows, chunk + right, chunk, left, lengths, ahead=ahead)

    @classmethod
    def of_stream(
        cls, lengths: Tensor | None, num_windows: int, context: Context, processed: Tensor
    ) -> Layout:
        """Lays out the next windows of streams, after ``processed`` (B,) frames."""
        chunk, left, right = _at_50_hz(context)
        return cls(num_windows, chunk + right, chunk, left, lengths, processed)

    def at(self, downsampling: int) -> Layout:
        """The same pass at a lower frame rate; a partial last frame counts as one."""
        if downsampling == 1:
            return self
        ds = downsampling
        sizes = self.mask_sizes
        return replace(
            self,
            size=(self.size + ds - 1) // ds,
            chunk=(self.chunk + ds - 1) // ds,
            left=self.left // ds,
            ahead=self.ahead // ds,
            lengths=None if self.lengths is None else _ceil_div(self.lengths, ds),
            processed=None if self.processed is None else _floor_div(self.processed, ds),
            mask_sizes=None  # -1, unlimited, stays -1
            if sizes is None
            else (sizes[0] // ds, sizes[1] // ds, sizes[2] // ds),
        )

    @_Lazy
    def valid(self) -> Tensor | None:
        """(B, K, W, 1) bool, True where a frame belongs to the utterance; None if all do."""
        if self.lengths is None:
            return None
        frames = masks.valid_window_frames(self.lengths, self.num_windows, self.chunk, self.size)
        return frames.unsqueeze(-1)

    @_Lazy
    def attention_mask(self) -> Tensor:
        """(B, K, 1, 1 or W, S) bool, broadcast over heads: which keys a query sees."""
        mask = self._keys()[:, :, None, None, :]
        if self.mask_sizes is not None:
            mask = mask & masks.chunk_mask(self.size, *self.mask_sizes, device=mask.device)
        return mask

    def _keys(self) -> Tensor:
        """(B, K, S) bool, which frames there are: left context, window and what follows it."""
        if self.valid is not None and self.left == self.ahead == 0:
            return self.valid.squeeze(-1)
        past = self.processed
        if past is None:
            assert self.lengths is not None, "only a stream has all frames of its windows"
            past = torch.zeros_like(self.lengths)
        before = masks.valid_left_frames(past, self.num_windows, self.chunk, self.left)
        if self.lengths is None:
            return F.pad(before, (0, self.size), value=True)
        seen = self.size + self.ahead
        rest = masks.valid_window_frames(self.lengths, self.num_windows, self.chunk, seen)
        return torch.cat([before, rest], dim=-1)

    @_Lazy
    def convolution(self) -> Layout:
        """The layout that the convolution works in: a window under a mask is cut into chunks."""
        if self.mask_sizes is None:
            return self
        chunk = self.mask_sizes[0]
        return Layout(-(-self.size // chunk), chunk, chunk, 0, self.lengths)

    def fold(self, x: Tensor) -> Tensor:
        """Cuts (B, T, D) into windows (B, K, W, D), with zeros after the end."""
        if self.num_windows == 1:
            return F.pad(x, (0, 0, 0, self.size - x.shape[1])).unsqueeze(1)
        needed = (self.num_windows - 1) * self.chunk + self.size
        x = F.pad(x, (0, 0, 0, needed - x.shape[1]))
        if self.chunk == self.size:
            return x.view(x.shape[0], self.num_windows, self.size, x.shape[-1])
        return x.unfold(1, self.size, self.chunk).transpose(2, 3).contiguous()

    def unfold(self, x: Tensor, num_frames: int) -> Tensor:
        """Lays the chunks of windows (B, K, W, D) end to end: (B, num_frames, D)."""
        return self.chunks(x)[:, :num_frames]

    def chunks(self, x: Tensor) -> Tensor:
        """(B, K, W, D) -> (B, K C, D): every window without its right context."""
        return x[:, :, : self.chunk].reshape(x.shape[0], -1, x.shape[-1])

    def with_context(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Puts around each window what attention sees: L frames before it and A after it.

        Args:
            x: (B, K, W, D).
            state: (B, L, D) that came before window 0; None for zeros.

        Returns:
            (B, K, S, D), and (B, L, D), the state for what follows the last chunk.
        """
        joined, state = self.with_history(x, self.left, state)
        if self.ahead == 0:
            return joined, state
        later = F.pad(self.chunks(x), (0, 0, 0, self.ahead))[:, self.chunk :]
        following = later.unfold(1, self.ahead, self.chunk).transpose(2, 3)  # (B, K, A, D)
        return torch.cat([joined, following], dim=2), state

    def with_history(
        self, x: Tensor, size: int, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Puts the ``size`` frames that came before each window in front of it.

        What came before are chunk parts only: right context is computed again as chunk, and
        never remembered.

        Args:
            x: (B, K, W, D).
            size: How many frames to look back.
            state: (B, size, D) that came before window 0; None for zeros.

        Returns:
            (B, K, size + W, D), and (B, size, D), the state for what follows the last chunk.
        """
        if size == 0:
            return x, state
        if self.num_windows == 1:
            front = self._front(x, size, state).unsqueeze(1)
            joined = torch.cat([front, x], dim=2)
            return joined, joined[:, :, self.chunk : self.chunk + size].squeeze(1)
        sequence, new_state = self.sequence(x, size, state)
        history = sequence.unfold(1, size, self.chunk)[:, : self.num_windows].transpose(2, 3)
        return torch.cat([history, x], dim=2), new_state

    def sequence(self, x: Tensor, size: int, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The chunks of all windows in a row, after the ``size`` frames that came before them.

        Args and state as in ``with_history``.

        Returns:
            (B, size + K C, D), and its last ``size`` frames.
        """
        sequence = torch.cat([self._front(x, size, state), self.chunks(x)], dim=1)
        return sequence, sequence[:, -size:]

    @staticmethod
    def _front(x: Tensor, size: int, state: Tensor | None) -> Tensor:
        return x.new_zeros(x.shape[0], size, x.shape[-1]) if state is None else state


def _windows_are_cheaper(chunk: int, left: int, ahead: int, num_frames: int) -> bool:
    """Whether windows have fewer keys to look at than a mask, where both give the same."""
    return left != UNLIMITED and left + chunk + ahead < num_frames


def _at_50_hz(context: Context) -> tuple[int, int, int]:
    left = context.left if context.left == UNLIMITED else context.left // 2
    return context.chunk // 2, left, context.right // 2


def _floor_div(lengths: Tensor, divisor: int) -> Tensor:
    return torch.div(lengths, divisor, rounding_mode="trunc")  # none is negative


def _ceil_div(lengths: Tensor, divisor: int) -> Tensor:
    return torch.div(lengths + divisor - 1, divisor, rounding_mode="floor")
