"""One Zipformer speech recognizer that streams and works offline from the same weights."""

from zipformer import losses, optim
from zipformer.context import Context
from zipformer.icefall import load_icefall
from zipformer.model import Transducer
from zipformer.nn.config import ZipformerConfig
from zipformer.nn.encoder import Encoder
from zipformer.nn.state import EncoderState

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
