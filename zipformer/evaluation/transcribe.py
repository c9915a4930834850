"""One's own recordings to text, with the time of every word."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.data.audio import read_audio
from zipformer.data.features import extract
from zipformer.search import Search, make_searcher
from zipformer.search.words import Word, text_of, words_of
from zipformer.streaming import Recognizer

LONG_SECONDS = 60.0  # longer audio is heard as a stream where the context allows it


@dataclass(frozen=True)
class Transcript:
    """What was heard in one recording.

    Args:
        file: Its path, as given.
        seconds: Its length.
        context: What the encoder saw.
        text: The words.
        words: The same with times.
    """

    file: str
    seconds: float
    context: str
    text: str
    words: list[Word]

    def to_dict(self) -> dict[str, object]:
        """As plain values, for JSON."""
        return asdict(self)


class Transcriber:
    """A model ready to hear recordings.

    Args:
        loaded: The model, on the device to use.
        context: What the encoder sees. A warning is logged if it was not trained for that.
        search: How to search; greedily by default.

    Raises:
        ValueError: On a context that the model cannot compute.
    """

    def __init__(self, loaded: LoadedModel, context: Context, search: Search | None = None) -> None:
        loaded.check_context(context)
        self.search = search
        self.loaded = loaded
        self.context = context
        self.searcher = make_searcher(
            loaded.model.heads_at(context), loaded.tokenizer.pieces, search
        )
        self.device = next(loaded.model.parameters()).device

    def file(self, path: Path) -> Transcript:
        """Transcribes a sound file.

        Raises:
            ValueError: If it cannot be read, naming it.
        """
        rate = self.loaded.config.data.sample_rate
        samples = read_audio(path, rate)
        words = self.words(samples)
        text = text_of(words)
        return Transcript(str(path), round(len(samples) / rate, 3), str(self.context), text, words)

    @torch.no_grad()
    def words(self, samples: Tensor) -> list[Word]:
        """The words in (N,) samples at the model's sample rate, full scale at +-1.

        An hour is no problem where the context streams: a stream holds little memory.
        """
        config, tokens = self.loaded.config, self.loaded.tokenizer.pieces
        rate = config.data.sample_rate
        if self.context.streams and len(samples) > rate * LONG_SECONDS:
            return self._stream_words(samples)
        features = extract(samples[None], rate, config.encoder.num_features).to(self.device)
        lengths = torch.tensor([len(features)], device=self.device)
        out, out_lengths = self.loaded.model.encoder(features[None], lengths, self.context)
        return words_of(self.searcher.decode(out, out_lengths)[0], tokens)

    def _stream_words(self, samples: Tensor) -> list[Word]:
        recognizer = Recognizer.of(self.loaded, self.context, self.search)
        stream = recognizer.open()
        for piece in samples.split(recognizer.sample_rate):
            recognizer.accept(stream, piece)
            recognizer.advance([stream])
        return stream.close().words
