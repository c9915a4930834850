"""Two ways of making a transducer speak early, both on the log-probabilities of tokens.

Letters: B batch, T frames, N token arcs of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Emission:
    """How strongly tokens are favoured over blanks, and early over late ones.

    Args:
        fastemit: The gradient by every token's log-probability is multiplied by 1 + this, that by a
            blank's is left alone; the value of the loss stays (FastEmit, arXiv 2010.11148,
            section 3).
        delay_penalty: This times ((T - 1) / 2 - t) is added to the log-probability of every token
            at frame t, so that the loss is no likelihood any more (arXiv 2211.00490).
    """

    fastemit: float = 0.0
    delay_penalty: float = 0.0

    def __call__(self, token: Tensor, num_frames: Tensor) -> Tensor:
        """The favoured log-probabilities.

        Args:
            token: (B, T, N), log-probabilities of token arcs.
            num_frames: (B,) of each utterance.
        """
        if self.fastemit != 0.0:
            token = token + self.fastemit * (token - token.detach()).nan_to_num(0.0)
        if self.delay_penalty != 0.0:
            frame = torch.arange(token.shape[1], device=token.device)
            early = (num_frames[:, None] - 1) / 2 - frame  # (B, T)
            token = token + self.delay_penalty * early.unsqueeze(2).to(token.dtype)
        return token


PLAIN = Emission()
