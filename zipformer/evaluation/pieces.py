"""Long recordings in pieces, cut where it is quietest, for contexts that hear all at once.

The memory of attention grows with the square of what it hears at once, and models were trained on
utterances of some seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

WINDOW_SECONDS = 0.3  # what has to be quiet for a cut: shorter than most pauses between words
HOP_SECONDS = 0.02


@dataclass(frozen=True)
class PieceLengths:
    """How long pieces are, in seconds: the cut lies somewhere between these two."""

    shortest: float = 12.0
    longest: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.shortest < self.longest:
            raise ValueError(f"pieces of {self.shortest} to {self.longest} s: give a range")


def pieces(samples: Tensor, sample_rate: int, lengths: PieceLengths) -> Iterator[tuple[int, int]]:
    """Where the pieces of a recording begin and end, in samples; without a gap between them.

    Args:
        samples: (N,).
        sample_rate: In Hz.
        lengths: The last piece may be shorter.
    """
    start = 0
    shortest, longest = (round(s * sample_rate) for s in (lengths.shortest, lengths.longest))
    while len(samples) - start > longest:
        room = samples[start + shortest : start + longest]
        end = start + shortest + quietest(room, sample_rate)
        yield start, end
        start = end
    yield start, len(samples)


def quietest(samples: Tensor, sample_rate: int) -> int:
    """The middle of the quietest window of (N,) samples; of several the last."""
    window, hop = (round(s * sample_rate) for s in (WINDOW_SECONDS, HOP_SECONDS))
    if len(samples) < window:
        return len(samples) // 2
    energies = samples.double().square().unfold(0, window, hop).sum(dim=1)
    last = len(energies) - 1 - int(energies.flip(0).argmin())
    return last * hop + window // 2
