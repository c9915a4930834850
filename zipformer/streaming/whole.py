"""Whole utterances behind the face of a stream: everything is heard first, then recognised.

    recognizer = WholeRecognizer.from_checkpoint("exp/digits/unified", Context.full())
    stream = recognizer.open()
    stream.push(samples)
    print(stream.close().text)

So a server offers full context beside contexts that stream. The words are those of decoding with
``full``; none comes before the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

import torch

from zipformer.streaming.packed_step import Prepare
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import Stream


class WholeRecognizer(Recognizer):
    """A model that hears utterances as a whole, in the place of one that hears streams.

    Arguments and errors as in ``Recognizer``, but the context has to be full, and nothing is
    prepared. Attention takes memory that grows with the square of an utterance's length: whoever
    opens such streams for others has to bound it.
    """

    live: ClassVar[bool] = False

    def _prepare(self, prepare: Prepare | None) -> None:
        if not self.context.is_full:
            raise ValueError(f"context {self.context} is not full: take Recognizer")
        self.step_frames = sys.maxsize  # no audio is enough for a step

    @torch.inference_mode()
    def _flush(self, streams: Sequence[Stream]) -> None:
        for stream in streams:  # one by one: a long one would make the short ones as large
            features = self._on_device(stream.audio.take())
            lengths = torch.tensor([len(features)], device=features.device)
            out, lengths = self.model.encoder(features[None], lengths, self.context)
            self._search([stream], out, lengths)
