"""The predictor of a transducer: it sees the last few tokens and nothing else."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.nn.regularizers import Balancer

CHANNELS_PER_GROUP = 4


class StatelessPredictor(nn.Module):
    """Embeds the last ``context_size`` tokens (after Ghodsi et al., ICASSP 2020, who see one).

    Args:
        vocab_size: V.
        dim: D, a multiple of 4.
        context_size: Tokens that an output depends on, at least 1.
        blank_id: The blank, which also starts a sentence.

    Raises:
        ValueError: If a size cannot be built.
    """

    def __init__(self, vocab_size: int, dim: int, context_size: int = 2, blank_id: int = 0) -> None:
        super().__init__()
        if dim % CHANNELS_PER_GROUP or context_size < 1:
            raise ValueError(
                f"model.predictor_dim {dim} must be a multiple of {CHANNELS_PER_GROUP} and "
                f"model.context_size {context_size} at least 1"
            )
        self.context_size = context_size
        self.blank_id = blank_id
        self.embedding = nn.Embedding(vocab_size, dim)
        self.balancer = Balancer(0.0, 1.0, 0.5, 1.0, prob=0.05)
        if context_size > 1:  # as published: one token is its embedding, and nothing more
            groups = dim // CHANNELS_PER_GROUP
            self.conv = nn.Conv1d(dim, dim, context_size, groups=groups, bias=False)
            self.balancer2 = Balancer(0.0, 1.0, 0.5, 1.0, prob=0.05)

    def forward(self, tokens: Tensor, pad: bool = True) -> Tensor:
        """Encodes token histories.

        Args:
            tokens: (B, U) int64; a negative id stands for no token and is a vector of zeros.
            pad: Whether each position is to have an output, with no tokens before the first.

        Returns:
            (B, U, D), or (B, U - context_size + 1, D) without padding.
        """
        embedded = self.embedding(tokens.clamp(min=0)) * (tokens >= 0).unsqueeze(-1)
        x: Tensor = self.balancer(embedded)
        if self.context_size == 1:
            return x
        x = x.transpose(1, 2)  # (B, D, U)
        x = self.conv(F.pad(x, (self.context_size - 1, 0)) if pad else x)
        return self.balancer2(F.relu(x.transpose(1, 2)))
