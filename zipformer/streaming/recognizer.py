"""Recognises many live streams at once, chunk by chunk, in batched steps.

    recognizer = Recognizer.from_checkpoint("exp/digits/unified", Context(32, 256, 64))
    stream = recognizer.open()
    for samples in microphone:
        stream.push(samples)
        print(stream.text + stream.provisional)
    print(stream.close().text)

A step takes chunk + right + 13 frames of a stream and moves on by the chunk. Whoever serves many
``accept``s the audio of each and calls ``step``, which steps all that have enough. The words are
those that decoding the whole utterance gives (``right_mode = "windowed"``), however the audio is
cut and whoever else is in the batch.

Letters: B streams, C chunk and R right context in frames of 10 ms, D channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from zipformer.biasing import Hotwords
from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import FRAMES_PER_OUTPUT, FRONTEND_LOOKAHEAD, Context
from zipformer.model import SpeechModel
from zipformer.nn.state import EncoderState
from zipformer.search import Search, greedy_of, make_searcher
from zipformer.search.biased_search import BiasedSearch
from zipformer.search.protocol import SearchState
from zipformer.streaming.feature_stream import take_together
from zipformer.streaming.live_stream import LiveStream
from zipformer.streaming.packed_step import Encode, PackedStep, Prepare
from zipformer.streaming.samples import Samples, checked_samples
from zipformer.streaming.stream import Stream, StreamResult


class Recognizer:
    """A model at one context, ready for streams.

    Args:
        model: In evaluation mode, on the device to use.
        tokens: The piece of every token id.
        context: A finite chunk and left context; any right context.
        search: How to search; greedily by default.
        sample_rate: Of the audio that the model was trained on.
        prepare: Makes steps faster on a CPU, after some seconds: ``trace`` as a fixed graph,
            ``zipformer.export.OnnxSteps()`` in onnxruntime.

    Attributes:
        live: Whether words come before the end.
        step_frames: Feature frames that a step takes, C + R + 13.

    Raises:
        ValueError: If the context cannot stream or this encoder cannot compute it, or ``tokens``
            are of another vocabulary.
    """

    live: ClassVar[bool] = True

    def __init__(
        self,
        model: SpeechModel,
        tokens: Sequence[str],
        context: Context,
        search: Search | None = None,
        sample_rate: int = 16000,
        prepare: Prepare | None = None,
    ) -> None:
        if len(tokens) != model.vocab_size:
            raise ValueError(f"{len(tokens)} tokens, but the model knows {model.vocab_size}")
        self.model = model.eval()
        self.tokens = list(tokens)
        self.context = context
        self.sample_rate = sample_rate
        self.num_features = model.encoder.config.num_features
        self.search = search or greedy_of(model.heads_at(context))
        self.searcher = make_searcher(model.heads_at(context), tokens, self.search)
        self._device = next(model.parameters()).device
        self._prepare(prepare)

    def _prepare(self, prepare: Prepare | None) -> None:
        self.step_frames = self.context.window + FRONTEND_LOOKAHEAD
        step = PackedStep(self.model.encoder, self.context)
        self._fresh, self._fresh_packed = step.fresh, step.fresh.pack()[0]
        self._encode: Encode = prepare(step) if prepare else step

    @classmethod
    def from_checkpoint(
        cls,
        path: Path | str,
        context: Context,
        device: str | torch.device = "cpu",
        search: Search | None = None,
        prepare: Prepare | None = None,
        epoch: int | None = None,
        avg: int = 1,
        iter: int | None = None,
        use_averaged_model: bool = True,
    ) -> Self:
        """The newest model of a run, or one file.

        Args:
            path: Folder of a run, or a checkpoint with ``bpe.model`` beside it.
            context, search, prepare: As above. A warning is logged if the model was not trained for
                the context.
            device: Where to compute.
            epoch, avg, iter, use_averaged_model: As in ``load_model``.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: As above, and on a damaged file.
        """
        loaded = load_model(Path(path), epoch, avg, iter, use_averaged_model, device)
        return cls.of(loaded, context, search, prepare)

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        context: Context,
        search: Search | None = None,
        prepare: Prepare | None = None,
    ) -> Self:
        """A loaded model as a recognizer; arguments and errors as above."""
        loaded.check_context(context, live=cls.live)
        rate = loaded.config.data.sample_rate
        return cls(loaded.model, loaded.tokenizer.pieces, context, search, rate, prepare)

    def searching(self, search: Search) -> Self:
        """The same encoder, prepared once, with another search.

        Raises:
            ValueError: If the model lacks a head that it needs.
        """
        other = copy(self)
        other.search = search
        other.searcher = make_searcher(self.model.heads_at(self.context), self.tokens, search)
        return other

    @property
    def state_bytes(self) -> int:
        """Memory of one stream's encoder state; the same after a second and after an hour."""
        return self._fresh_packed.numel() * self._fresh_packed.element_size()

    def open(self) -> LiveStream:
        """A stream that has heard nothing yet."""
        return LiveStream(self)

    def prefer(self, stream: Stream, hotwords: Hotwords | None) -> None:
        """Lets a stream prefer other phrases, from its next step on: those of others stay.

        Args:
            stream: Of this recognizer, new or in the middle of its audio.
            hotwords: None for no phrases at all.

        Raises:
            ValueError: If the search follows one hypothesis alone, or rescores; or if the phrases
                are tokens of another vocabulary.
        """
        searcher = self.searcher
        if not isinstance(searcher, BiasedSearch):
            raise ValueError(
                f"{self.search} cannot prefer phrases stream by stream: choose "
                "modified_beam_search or ctc_prefix_beam_search"
            )
        stream.first_state = searcher.prefer(searcher.initial_state(1), [hotwords])
        if stream.search_state is not None:
            stream.search_state = searcher.prefer(stream.search_state, [hotwords])

    def accept(self, stream: Stream, samples: Samples, sample_rate: int | None = None) -> None:
        """Takes audio in without recognising yet, for ``step`` over many streams.

        Args:
            stream: Of this recognizer.
            samples: (N,) float32 in [-1, 1], any N.
            sample_rate: Of the samples, if it is to be checked.

        Raises:
            ValueError: On samples that cannot be right (two channels, another rate, integers, NaN),
                or if the stream is closed. The stream is then as it was before.
        """
        if stream.closed:
            raise ValueError("this stream is closed; open another one")
        stream.accept(checked_samples(samples, sample_rate, self.sample_rate))

    def step(self, streams: Iterable[Stream]) -> list[Stream]:
        """One step of every given stream that has heard enough, in one batch; returns those."""
        ready = [s for s in streams if not s.closed and s.waiting_frames >= self.step_frames]
        if ready:
            self._step(ready)
        return ready

    def advance(self, streams: Iterable[Stream]) -> list[Stream]:
        """Steps until no stream has heard enough for another one; returns those that moved on."""
        moved = remaining = self.step(streams)
        while remaining:
            remaining = self.step(remaining)
        return moved

    def close(self, streams: Sequence[Stream], flush: bool = True) -> list[StreamResult]:
        """Ends the input of streams; what is left of them is recognised in one batch.

        Args:
            streams: To close, if they are not closed already.
            flush: Without it, what does not fill a step is not heard.

        Returns:
            The result of each.
        """
        closing = [s for s in streams if not s.closed]
        for stream in closing:
            stream.audio.finish()
        self.advance(closing)
        if closing and flush:
            self._flush(closing)
        for stream in closing:
            if stream.search_state is not None:
                stream.add(self.searcher.hypotheses(stream.search_state)[0])
            stream.finish()
        return [s.result for s in streams]

    @torch.inference_mode()
    def look_ahead(self, streams: Iterable[Stream]) -> None:
        """Computes ``Stream.provisional`` of many streams, in one batch.

        It comes from the right context, which the encoder has seen but will see again with its own
        right context, and from hypotheses of a beam search that may still lose.
        """
        asking = [s for s in streams if s.search_state is not None]
        if not asking:
            return
        states = [self._search_state(s) for s in asking]
        state = type(states[0]).cat(states)
        ahead = [s.right for s in asking]
        frames = max(len(right) for right in ahead)  # of a stream that was not stepped last: none
        if frames:
            lengths = self._on_device(torch.tensor([len(right) for right in ahead]))
            right = torch.nn.utils.rnn.pad_sequence(ahead, batch_first=True)
            state = self.searcher.step(right, lengths, state)
        for stream, found in zip(asking, self.searcher.hypotheses(state), strict=True):
            stream.show(found.tokens)

    @torch.inference_mode()
    def _step(self, streams: Sequence[Stream]) -> None:
        heard = take_together([s.audio for s in streams])
        for stream, features in zip(streams, heard, strict=True):
            stream.frames = torch.cat([stream.frames, features])
        window = torch.stack([s.frames[: self.step_frames] for s in streams])
        out, packed = self._encode(self._on_device(window), *self._encoder_states(streams))
        chunk = self.context.chunk
        for stream, row in zip(streams, packed, strict=True):
            stream.encoder_state = row.clone()  # a view would keep the whole batch
            stream.processed += chunk // 2
            stream.frames = stream.frames[chunk:].clone()
        new = chunk // FRAMES_PER_OUTPUT
        right = out[:, new:]
        self._search(streams, out[:, :new], torch.full((len(streams),), new, device=out.device))
        for stream, ahead in zip(streams, right, strict=True):
            stream.right = ahead.clone()

    @torch.inference_mode()
    def _flush(self, streams: Sequence[Stream]) -> None:
        new = take_together([s.audio for s in streams])
        rest = [torch.cat(pair) for pair in zip((s.frames for s in streams), new, strict=True)]
        features = torch.nn.utils.rnn.pad_sequence(rest, batch_first=True)
        lengths = self._on_device(torch.tensor([len(r) for r in rest]))
        state = EncoderState.unpack(*self._encoder_states(streams), like=self._fresh)
        out, out_lengths = self.model.encoder.flush(
            self._on_device(features), lengths, state, self.context
        )
        self._search(streams, out, out_lengths)

    def _search(self, streams: Sequence[Stream], out: Tensor, lengths: Tensor) -> None:
        """Goes on with (B, T, D) encodings, (B,) of them valid."""
        states = [self._search_state(s) for s in streams]
        state = self.searcher.step(out, lengths, type(states[0]).cat(states))
        found, state = self.searcher.take(state)
        for i, stream in enumerate(streams):
            stream.search_state = state.select([i]) if len(streams) > 1 else state
            stream.add(found[i])

    def _encoder_states(self, streams: Sequence[Stream]) -> tuple[Tensor, Tensor]:
        """(B, S) packed states, and (B,) frames at 50 Hz that came before."""
        fresh = self._fresh_packed
        packed = [fresh if s.encoder_state is None else s.encoder_state for s in streams]
        processed = torch.tensor([s.processed for s in streams])
        return torch.stack(packed), self._on_device(processed)

    def _search_state(self, stream: Stream) -> SearchState:
        state = stream.first_state if stream.search_state is None else stream.search_state
        return self.searcher.initial_state(1) if state is None else state

    def _on_device(self, x: Tensor) -> Tensor:
        return x.to(self._device, non_blocking=True)
