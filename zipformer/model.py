"""The recognizer: an encoder and its heads; in training also the projections of their losses."""

from __future__ import annotations

from torch import nn

from zipformer.config import ModelConfig, RunConfig
from zipformer.context import Context
from zipformer.heads.attention_decoder import AttentionDecoder
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.nn.baselines.config import ConformerConfig, ContextNetConfig, TransformerConfig
from zipformer.nn.baselines.conformer import Conformer
from zipformer.nn.baselines.contextnet import ContextNet
from zipformer.nn.baselines.transformer import Transformer
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.linear import scaled_linear
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.encoder import Encoder

_ENCODERS: dict[type[EncoderConfig], type[StreamingEncoder]] = {
    ZipformerConfig: Encoder,
    ConformerConfig: Conformer,
    TransformerConfig: Transformer,
    ContextNetConfig: ContextNet,
}


def build_encoder(config: EncoderConfig) -> StreamingEncoder:
    """A fresh encoder of the kind and the sizes of ``config``."""
    return _ENCODERS[type(config)](config)


class Heads(nn.Module):
    """What turns an encoder's output into words; searches work with that.

    Heads that are absent are None: ``predictor`` and ``joiner`` (together a transducer),
    ``ctc_output`` (log-probabilities of every frame, the blank at 0) and ``attention_decoder``.
    ``simple_am_proj`` and ``simple_lm_proj`` serve the loss that prunes the transducer's lattice
    and are of no use after training.
    """

    predictor: StatelessPredictor | None
    joiner: Joiner | None
    ctc_output: nn.Module | None
    attention_decoder: AttentionDecoder | None
    simple_am_proj: nn.Linear | None
    simple_lm_proj: nn.Linear | None

    def __init__(self) -> None:
        super().__init__()
        self.predictor = self.joiner = self.ctc_output = self.attention_decoder = None
        self.simple_am_proj = self.simple_lm_proj = None

    def add_heads(self, width: int, vocab_size: int, model: ModelConfig) -> None:
        """Creates the heads that a config asks for.

        Args:
            width: D of the encoder's output.
            vocab_size: V, with the blank at 0.
            model: Which heads, and their sizes.

        Raises:
            ValueError: If a head cannot be built from its sizes, naming the key.
        """
        if model.transducer:
            self.predictor = StatelessPredictor(vocab_size, model.predictor_dim, model.context_size)
            self.joiner = Joiner(width, model.predictor_dim, model.joiner_dim, vocab_size)
            self.simple_am_proj = scaled_linear(width, vocab_size, scale=0.25)
            self.simple_lm_proj = scaled_linear(model.predictor_dim, vocab_size, scale=0.25)
        if model.ctc:
            self.ctc_output = nn.Sequential(
                nn.Dropout(0.1), nn.Linear(width, vocab_size), nn.LogSoftmax(dim=-1)
            )
        if model.attention_decoder:
            self.attention_decoder = AttentionDecoder(
                vocab_size,
                width,
                num_layers=model.aed_layers,
                dim=model.aed_dim,
                num_heads=model.aed_heads,
                feedforward_dim=model.aed_feedforward_dim,
                dropout=model.aed_dropout,
            )


class SpeechModel(Heads):
    """An encoder with some of the heads: what streams work with.

    Args:
        config: Kind and sizes of the encoder.
        vocab_size: V, with the blank at 0.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.encoder = build_encoder(config)

    def heads_at(self, context: Context) -> Heads:
        """The heads that were trained for ``context``."""
        return self


class Transducer(SpeechModel):
    """A neural transducer: all that recognition needs.

    Args:
        config: Kind and sizes of the encoder.
        vocab_size: V, with the blank at 0.
        predictor_dim, joiner_dim: Sizes of the predictor and of the joiner's sum.
        context_size: Tokens that the predictor sees.
    """

    predictor: StatelessPredictor
    joiner: Joiner

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        predictor_dim: int = 512,
        joiner_dim: int = 512,
        context_size: int = 2,
    ) -> None:
        super().__init__(config, vocab_size)
        self.predictor = StatelessPredictor(vocab_size, predictor_dim, context_size)
        self.joiner = Joiner(config.output_dim, predictor_dim, joiner_dim, vocab_size)


class AsrModel(SpeechModel):
    """The heads that a config asks for, with what training needs besides.

    Args:
        encoder: Kind and sizes of the encoder.
        vocab_size: V, with the blank at 0.
        model: Which heads, and their sizes.
        streaming_heads: Whether streaming contexts have heads of their own (``streaming``).

    Raises:
        ValueError: If a head cannot be built from its sizes, naming the key.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        vocab_size: int,
        model: ModelConfig,
        streaming_heads: bool = False,
    ) -> None:
        super().__init__(encoder, vocab_size)
        self.add_heads(encoder.output_dim, vocab_size, model)
        self.streaming: Heads | None = None
        if streaming_heads:
            self.streaming = Heads()
            self.streaming.add_heads(encoder.output_dim, vocab_size, model)

    @classmethod
    def of(cls, config: RunConfig, vocab_size: int) -> AsrModel:
        """A fresh model of a run."""
        separate = config.method.rules.separate_heads
        return cls(config.encoder, vocab_size, config.model, streaming_heads=separate)

    def heads_at(self, context: Context) -> Heads:
        """The model's own heads, or those of streaming contexts where these have their own."""
        if self.streaming is None or context.is_full:
            return self
        return self.streaming


def require_transducer(heads: Heads, what: str) -> tuple[StatelessPredictor, Joiner]:
    """The predictor and the joiner of a model.

    Args:
        heads: Of the model.
        what: What cannot do without them, to begin the error message with.

    Raises:
        ValueError: If it has none, naming the heads that it has.
    """
    if heads.predictor is None or heads.joiner is None:
        parts = {"ctc": heads.ctc_output, "attention_decoder": heads.attention_decoder}
        there = ", ".join(name for name, part in parts.items() if part is not None)
        raise ValueError(
            f"{what} a transducer (model.transducer = true); this model's heads are: "
            f"{there or 'none'}"
        )
    return heads.predictor, heads.joiner
