"""The joiner of a transducer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zipformer.nn.linear import scaled_linear


class Joiner(nn.Module):
    """Joins an encoder frame and a predictor state to scores over the vocabulary.

        logits = output(tanh(encoder_proj(encoder_out) + decoder_proj(predictor_out)))

    Args:
        encoder_dim, predictor_dim: Sizes of the inputs.
        joiner_dim: Size of the sum.
        vocab_size: V.
    """

    def __init__(
        self, encoder_dim: int, predictor_dim: int, joiner_dim: int, vocab_size: int
    ) -> None:
        super().__init__()
        self.encoder_proj = scaled_linear(encoder_dim, joiner_dim, scale=0.25)
        self.decoder_proj = scaled_linear(predictor_dim, joiner_dim, scale=0.25)
        self.output_linear = nn.Linear(joiner_dim, vocab_size)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.output_linear.weight.device

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """(..., encoder_dim) -> (..., joiner_dim)."""
        return self.encoder_proj(encoder_out)

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """(..., predictor_dim) -> (..., joiner_dim)."""
        return self.decoder_proj(predictor_out)

    def forward(self, encoder_out: Tensor, predictor_out: Tensor, project: bool = True) -> Tensor:
        """Scores of shape (..., V); the leading axes of the inputs broadcast.

        Args:
            encoder_out: (..., encoder_dim), or (..., joiner_dim) if already projected.
            predictor_out: (..., predictor_dim), or (..., joiner_dim) if already projected.
            project: Whether the inputs still have to be projected.
        """
        if project:
            encoder_out = self.encoder_proj(encoder_out)
            predictor_out = self.decoder_proj(predictor_out)
        return self.output_linear(torch.tanh(encoder_out + predictor_out))
