"""The recognizer: encoder, predictor and joiner, and the projections of its losses."""

from __future__ import annotations

from torch import nn

from zipformer.config import ModelConfig
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.nn.config import ZipformerConfig
from zipformer.nn.encoder import Encoder
from zipformer.nn.linear import scaled_linear


class AsrModel(nn.Module):
    """A neural transducer with a Zipformer encoder, and optionally a CTC head.

    ``simple_am_proj`` and ``simple_lm_proj`` serve the loss that prunes the lattice and are of no
    use after training; ``ctc_output`` is None without a CTC head.

    Args:
        encoder: Sizes of the encoder.
        vocab_size: V, with the blank at 0.
        model: Sizes of everything else.
    """

    def __init__(self, encoder: ZipformerConfig, vocab_size: int, model: ModelConfig) -> None:
        super().__init__()
        width = encoder.output_dim
        self.vocab_size = vocab_size
        self.encoder = Encoder(encoder)
        self.predictor = StatelessPredictor(vocab_size, model.predictor_dim, model.context_size)
        self.joiner = Joiner(width, model.predictor_dim, model.joiner_dim, vocab_size)
        self.simple_am_proj = scaled_linear(width, vocab_size, scale=0.25)
        self.simple_lm_proj = scaled_linear(model.predictor_dim, vocab_size, scale=0.25)
        self.ctc_output = (
            nn.Sequential(nn.Dropout(0.1), nn.Linear(width, vocab_size), nn.LogSoftmax(dim=-1))
            if model.ctc
            else None
        )
