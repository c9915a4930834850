"""One's own recordings to text, with the time of every word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.data.sound_files import read_audio
from zipformer.evaluation.pieces import PieceLengths, pieces
from zipformer.progress import Progress
from zipformer.search import Search, make_searcher
from zipformer.search.words import Word, text_of, words_of
from zipformer.streaming import Recognizer
from zipformer.tokens.scripts import is_unspaced

LONG_SECONDS = 60.0  # longer audio is heard as a stream, or in pieces
PIECES = PieceLengths()


@dataclass(frozen=True)
class Transcript:
    """What was heard in one recording.

    Args:
        file: Its path, as given.
        seconds: Its length.
        context: What the encoder saw.
        text: The words.
        words: The same with times.
        channel: Which one of several was heard apart, from 0; None for their average.
    """

    file: str
    seconds: float
    context: str
    text: str
    words: list[Word]
    channel: int | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain values, for JSON; ``channel`` only where one was heard apart."""
        values = asdict(self)
        if self.channel is None:
            del values["channel"]
        return values


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

    def file(self, path: Path, channel: int | None = None) -> Transcript:
        """Transcribes a sound file, or one channel of it.

        Raises:
            ValueError: If it cannot be read, or lacks the channel, naming it.
        """
        rate = self.loaded.config.data.sample_rate
        samples = read_audio(path, rate, channel)
        with Progress(str(path), round(len(samples) / rate), "s") as progress:
            words = self.words(samples, progress)
        seconds = round(len(samples) / rate, 3)
        return Transcript(str(path), seconds, str(self.context), text_of(words), words, channel)

    def words(self, samples: Tensor, progress: Progress | None = None) -> list[Word]:
        """The words in (N,) samples at the model's sample rate, full scale at +-1.

        Beyond a minute the audio is heard as a stream, or, at a context that does not stream, in
        pieces that are cut where it is quietest, so that an hour takes little memory. The times of
        words are those of the whole.

        Args:
            samples: Of one channel.
            progress: Counts seconds.
        """
        rate = self.loaded.config.data.sample_rate
        if len(samples) <= rate * LONG_SECONDS:
            return self._whole_words(samples)
        if self.context.streams:
            return self._stream_words(samples, progress)
        found: list[Word] = []
        for start, end in pieces(samples, rate, PIECES):
            append_later(found, self._whole_words(samples[start:end]), start / rate)
            if progress is not None:
                progress.add(round(end / rate) - round(start / rate))
        return found

    @torch.no_grad()
    def _whole_words(self, samples: Tensor) -> list[Word]:
        config, tokens = self.loaded.config, self.loaded.tokenizer.pieces
        rate = config.data.sample_rate
        features = extract(samples[None], rate, config.encoder.num_features).to(self.device)
        lengths = torch.tensor([len(features)], device=self.device)
        out, out_lengths = self.loaded.model.encoder(features[None], lengths, self.context)
        return words_of(self.searcher.decode(out, out_lengths)[0], tokens)

    def _stream_words(self, samples: Tensor, progress: Progress | None) -> list[Word]:
        recognizer = Recognizer.of(self.loaded, self.context, self.search)
        stream = recognizer.open()
        for piece in samples.split(recognizer.sample_rate):
            recognizer.accept(stream, piece)
            recognizer.advance([stream])
            if progress is not None:
                progress.add(1)
        return stream.close().words


def append_later(words: list[Word], of_piece: Sequence[Word], seconds: float) -> None:
    """Appends the words of a piece that begins so many seconds into the whole."""
    for i, word in enumerate(of_piece):
        start, end = round(word.start + seconds, 3), round(word.end + seconds, 3)
        spaced = word.spaced
        if i == 0 and words:  # it was the first of all in its piece
            spaced = not (is_unspaced(words[-1].text[-1]) and is_unspaced(word.text[0]))
        words.append(replace(word, start=start, end=end, spaced=spaced))
