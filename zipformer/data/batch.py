"""What a model is trained on or evaluated with at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipformer.context import FRAME_SECONDS


@dataclass
class Batch:
    """Utterances side by side.

    Args:
        features: (B, T, F) float32, zeros past the end of an utterance.
        feature_lens: (B,) int64, frames of 10 ms.
        tokens: Token ids of each transcript; may be empty in evaluation.
        texts: Transcripts as they stand in the manifest.
        cut_ids: Names of the utterances.
        seconds: Audio in the batch, padding not counted.
        second: (B, T, F), another view of the same utterances, masked differently; None without.
    """

    features: Tensor
    feature_lens: Tensor
    tokens: list[list[int]]
    texts: list[str]
    cut_ids: list[str]
    seconds: float
    second: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The batch with its tensors on ``device``."""
        return replace(
            self,
            features=self.features.to(device, non_blocking=True),
            feature_lens=self.feature_lens.to(device, non_blocking=True),
            second=None if self.second is None else self.second.to(device, non_blocking=True),
        )


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
