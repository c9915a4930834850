"""Live audio in, words out; the words that decoding whole utterances is scored on."""

from zipformer.streaming.endpoint import Endpoint
from zipformer.streaming.feature_stream import FeatureStream
from zipformer.streaming.live_stream import LiveStream
from zipformer.streaming.packed_step import trace
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import Stream, StreamResult
from zipformer.streaming.whole import WholeRecognizer

__all__ = [
    "Endpoint",
    "FeatureStream",
    "LiveStream",
    "Recognizer",
    "Stream",
    "StreamResult",
    "WholeRecognizer",
    "trace",
]
