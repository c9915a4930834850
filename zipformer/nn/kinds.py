"""The kinds of encoders that there are; ``encoder.kind`` in a config chooses."""

from __future__ import annotations

from zipformer.nn.baselines.config import ConformerConfig, ContextNetConfig, TransformerConfig
from zipformer.nn.baselines.conformer import Conformer
from zipformer.nn.baselines.contextnet import ContextNet
from zipformer.nn.baselines.transformer import Transformer
from zipformer.nn.config import EncoderConfig, ZipformerConfig
from zipformer.nn.encoder import Encoder
from zipformer.nn.streaming_encoder import StreamingEncoder

# The first one is meant where a config names none.
AnyEncoderConfig = ZipformerConfig | ConformerConfig | TransformerConfig | ContextNetConfig

_ENCODERS: dict[type[EncoderConfig], type[StreamingEncoder]] = {
    ZipformerConfig: Encoder,
    ConformerConfig: Conformer,
    TransformerConfig: Transformer,
    ContextNetConfig: ContextNet,
}


def build_encoder(config: EncoderConfig) -> StreamingEncoder:
    """A fresh encoder of the kind and the sizes of ``config``."""
    return _ENCODERS[type(config)](config)
