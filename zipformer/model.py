"""The recognizer: encoder, predictor and joiner; in training also the projections of its losses."""

from __future__ import annotations

from torch import nn

from zipformer.config import ModelConfig
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.nn.config import EncoderConfig
from zipformer.nn.kinds import build_encoder
from zipformer.nn.linear import scaled_linear


class Transducer(nn.Module):
    """A neural transducer: all that recognition needs.

    Args:
        config: Kind and sizes of the encoder.
        vocab_size: V, with the blank at 0.
        predictor_dim, joiner_dim: Sizes of the predictor and of the joiner's sum.
        context_size: Tokens that the predictor sees.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        predictor_dim: int = 512,
        joiner_dim: int = 512,
        context_size: int = 2,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.encoder = build_encoder(config)
        self.predictor = StatelessPredictor(vocab_size, predictor_dim, context_size)
        self.joiner = Joiner(config.output_dim, predictor_dim, joiner_dim, vocab_size)


class AsrModel(Transducer):
    """A transducer with what its training needs besides, and optionally a CTC head.

    ``simple_am_proj`` and ``simple_lm_proj`` serve the loss that prunes the lattice and are of no
    use after training; ``ctc_output`` is None without a CTC head.

    Args:
        encoder: Kind and sizes of the encoder.
        vocab_size: V, with the blank at 0.
        model: Sizes of everything else.
    """

    def __init__(self, encoder: EncoderConfig, vocab_size: int, model: ModelConfig) -> None:
        super().__init__(
            encoder, vocab_size, model.predictor_dim, model.joiner_dim, model.context_size
        )
        width = encoder.output_dim
        self.simple_am_proj = scaled_linear(width, vocab_size, scale=0.25)
        self.simple_lm_proj = scaled_linear(model.predictor_dim, vocab_size, scale=0.25)
        self.ctc_output = (
            nn.Sequential(nn.Dropout(0.1), nn.Linear(width, vocab_size), nn.LogSoftmax(dim=-1))
            if model.ctc
            else None
        )
