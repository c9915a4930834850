"""What a model is trained on or evaluated with at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipformer.context import FRAME_SECONDS
from zipformer.tokens import BLANK_ID


@dataclass
class Batch:
    """Utterances side by side.

    What a step wants to know of them as plain numbers is kept as such, since to ask a GPU for it
    would be to wait until all of its work is done.

    Args:
        features: (B, T, F) float32, zeros past the end of an utterance.
        feature_lens: (B,) int64, frames of 10 ms.
        tokens: Token ids of each transcript; may be empty in evaluation.
        texts: Transcripts as they stand in the manifest.
        cut_ids: Names of the utterances.
        seconds: Audio in the batch, padding not counted.
        second: (B, T, F), another view of the same utterances, masked differently; None without.

    Attributes:
        padded_tokens: (B, U) int64, ``tokens`` filled up with blanks.
        token_lens: (B,) int64, tokens of each utterance.
        frames: ``feature_lens`` as plain numbers.
    """

    features: Tensor
    feature_lens: Tensor
    tokens: list[list[int]]
    texts: list[str]
    cut_ids: list[str]
    seconds: float
    second: Tensor | None = None
    padded_tokens: Tensor = field(init=False)
    token_lens: Tensor = field(init=False)
    frames: list[int] = field(init=False)

    def __post_init__(self) -> None:
        device = self.features.device
        padded, lengths = pad_tokens(self.tokens)
        self.padded_tokens, self.token_lens = padded.to(device), lengths.to(device)
        self.frames = self.feature_lens.tolist()

    def to(self, device: torch.device | str) -> Batch:
        """The batch with its tensors on ``device``; from pinned memory without waiting."""
        return self._moved(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch with its tensors in pinned memory, from where a GPU fetches them by itself."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        moved = copy(self)  # not ``replace``, which would look at the lengths again
        moved.features, moved.feature_lens = move(self.features), move(self.feature_lens)
        moved.padded_tokens, moved.token_lens = move(self.padded_tokens), move(self.token_lens)
        moved.second = None if self.second is None else move(self.second)
        return moved


def pad_tokens(ids: Sequence[list[int]], padding: int = BLANK_ID) -> tuple[Tensor, Tensor]:
    """Token ids as one tensor.

    Returns:
        (B, U) int64, filled up with ``padding``, and the lengths (B,) int64.
    """
    lengths = torch.tensor([len(row) for row in ids], dtype=torch.int64)
    padded = torch.full((len(ids), max(map(len, ids), default=0)), padding)
    for row, found in zip(padded, ids, strict=True):
        row[: len(found)] = torch.tensor(found, dtype=torch.int64)
    return padded, lengths


def collate(
    features: Sequence[Tensor],
    tokens: Sequence[list[int]],
    texts: Sequence[str],
    cut_ids: Sequence[str],
) -> Batch:
    """Pads utterances of (T, F) to one batch."""
    lengths = torch.tensor([len(f) for f in features], dtype=torch.int64)
    return Batch(
        features=pad_sequence(list(features), batch_first=True),
        feature_lens=lengths,
        tokens=list(tokens),
        texts=list(texts),
        cut_ids=list(cut_ids),
        seconds=float(lengths.sum()) * FRAME_SECONDS,
    )
