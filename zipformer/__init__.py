"""One Zipformer speech recognizer that streams and works offline from the same weights."""

from __future__ import annotations

from zipformer import losses, optim
from zipformer.checkpoint.icefall import load_icefall
from zipformer.context import Context
from zipformer.model import Transducer
from zipformer.nn.state import EncoderState
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.encoder import Encoder

__version__ = "0.1.0"
__all__ = [
    "Context",
    "Encoder",
    "EncoderState",
    "Transducer",
    "ZipformerConfig",
    "load_icefall",
    "losses",
    "optim",
]


def __getattr__(name: str) -> object:
    """``Recognizer``, which comes with all that reads audio, when it is asked for."""
    if name == "Recognizer":
        from zipformer.streaming import Recognizer

        return Recognizer
    raise AttributeError(f"module 'zipformer' has no attribute {name!r}")
