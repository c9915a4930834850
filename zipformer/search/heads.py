"""What searches need of a model. The heads of a model fit, and so do the networks of an export.

Letters: B batch, S tokens that the predictor sees, D channels of the encoder, P of the predictor,
J joiner dimension, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from zipformer.heads.attention_decoder import AttentionDecoder


class PredictorHead(Protocol):
    """The predictor of a transducer."""

    @property
    def context_size(self) -> int:
        """S."""
        ...

    @property
    def blank_id(self) -> int:
        """The token that means "nothing here"."""
        ...

    def __call__(self, tokens: Tensor, pad: bool = True) -> Tensor:
        """(B, S) tokens, without padding -> (B, 1, P)."""
        ...


class JoinerHead(Protocol):
    """The joiner of a transducer."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """(..., D) -> (..., J)."""
        ...

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """(..., P) -> (..., J)."""
        ...

    def __call__(self, encoder_out: Tensor, predictor_out: Tensor, project: bool = True) -> Tensor:
        """(..., J) twice, projected, broadcast against each other -> (..., V) logits."""
        ...


class SearchHeads(Protocol):
    """The heads of a model; those that are absent are None."""

    @property
    def predictor(self) -> PredictorHead | None:
        """Of a transducer, with a joiner."""
        ...

    @property
    def joiner(self) -> JoinerHead | None:
        """Of a transducer, with a predictor."""
        ...

    @property
    def ctc_output(self) -> nn.Module | None:
        """(B, T, D) -> (B, T, V) log-probabilities, the blank at 0."""
        ...

    @property
    def attention_decoder(self) -> AttentionDecoder | None:
        """Rescores what the others find."""
        ...


def heads_of(heads: SearchHeads) -> tuple[str, ...]:
    """The heads that a model has, by their keys in the config's section ``model``."""
    parts = {
        "transducer": heads.joiner,
        "ctc": heads.ctc_output,
        "attention_decoder": heads.attention_decoder,
    }
    return tuple(name for name, part in parts.items() if part is not None)
