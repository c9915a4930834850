"""The interface of all encoders: one forward for whole utterances and for streams.

An encoder is the frontend and whatever a subclass puts after it. What is here, and the same for
all of them, is how utterances are cut into windows, what a stream carries from step to step, and
what is refused. Right context is computed again instead of accumulated, so that look-ahead does
not grow with depth (see ``zipformer.nn.layout``).

Letters: B batch, T feature frames, K windows, W frames of a window, D channels, C chunk and R right
context in feature frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import (
    FRONTEND_LOOKAHEAD,
    Context,
    frontend_lengths,
    output_frames,
    output_lengths,
)
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.frontend import Frontend
from zipformer.nn.layout import Layout
from zipformer.nn.state import EncoderState

RightMode = Literal["windowed", "masked"]
MIN_FRAMES = 9  # feature frames that give one output


class StreamingEncoder(nn.Module, ABC):
    """Features at 100 Hz in, encodings at 25 Hz out, at any context that the config allows.

    A subclass says what comes after the frontend, and what its layers remember of the past.

    Args:
        config: Sizes.
    """

    layer_state: ClassVar[type]  # a dataclass of tensors; without arguments, that of no past

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = Frontend(config)

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """How many states there are."""

    @abstractmethod
    def state_shapes(self, context: Context) -> list[dict[str, tuple[int, ...]]]:
        """What each layer remembers in a stream with this context.

        Returns:
            For each layer the shapes of the fields of ``layer_state``, without the axis of the
            streams. Fields that are left out stay None.
        """

    @abstractmethod
    def _encode(self, x: Tensor, layout: Layout, states: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """What comes after the frontend.

        Args:
            x: (B, K, W, D0) at 50 Hz, in ``layout``.
            layout: At 50 Hz.
            states: One per layer, before window 0.

        Returns:
            (B, K, ceil(W / 2), D) at 25 Hz, and the states after the last chunk.
        """

    @staticmethod
    def output_lengths(lengths: Tensor) -> Tensor:
        """Output frames (25 Hz) from feature frames: ((T - 7) // 2 + 1) // 2, never negative."""
        return output_lengths(lengths)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        context: Context | None = None,
        right_mode: RightMode = "windowed",
    ) -> tuple[Tensor, Tensor]:
        """Encodes whole utterances.

        Args:
            features: (B, T, num_features), log mel energies.
            lengths: (B,) valid feature frames; what lies after them changes nothing.
            context: What the encoder may see; ``Context.full()`` by default.
            right_mode: ``windowed`` computes what a stream computes, to rounding. ``masked`` runs
                one pass in which look-ahead accumulates from layer to layer: cheaper to train
                with, but no stream can produce it (they differ where right > 0 only).

        Returns:
            (B, T', D), T' = ((T - 7) // 2 + 1) // 2, and (B,) valid output frames.

        Raises:
            ValueError: On a context that this encoder cannot compute, an unknown mode, or
                features of the wrong shape.
        """
        context = Context.full() if context is None else context
        self.config.check_context(context)
        if right_mode not in ("windowed", "masked"):
            raise ValueError(f"right_mode {right_mode!r}: choose 'windowed' or 'masked'")
        self._check_features(features, lengths)
        out_lengths = self.output_lengths(lengths)
        num_out = output_frames(features.shape[1])
        x, _ = self.frontend(self._at_least_one_output(features), lengths)
        frames = frontend_lengths(lengths)
        layout = Layout.of_utterance(frames, x.shape[1], context, right_mode == "windowed")
        x, _ = self._encode(layout.fold(x), layout, [self.layer_state()] * self.num_layers)
        return layout.at(2).unfold(x, num_out), out_lengths

    def initial_state(self, batch_size: int, context: Context) -> EncoderState:
        """The state of streams that have heard nothing yet.

        Raises:
            ValueError: If the context cannot stream.
        """
        self._check_stream(context)
        weight = self.frontend.out.weight
        layers = [
            self.layer_state(**{n: weight.new_zeros(batch_size, *s) for n, s in shapes.items()})
            for shapes in self.state_shapes(context)
        ]
        processed = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return EncoderState(self.frontend.initial_state(batch_size), processed, layers)

    def step(
        self, features: Tensor, state: EncoderState, context: Context, with_right: bool = False
    ) -> tuple[Tensor, EncoderState]:
        """Encodes the next chunk of each stream.

        Args:
            features: (B, C + R + 13, num_features), from the first frame of the chunk on; the
                next step begins C frames later.
            state: What the previous step returned; it is not changed.
            context: The one that the state was made for.
            with_right: Returns the right context as well, as it looks before its own right context
                is known; it comes again, as chunk, in later steps.

        Returns:
            (B, C / 4, D), or (B, (C + R) / 4, D) with ``with_right``; and the new state.

        Raises:
            ValueError: If the context cannot stream or the features have another length.
        """
        self._check_stream(context)
        needed = context.window + FRONTEND_LOOKAHEAD
        if features.shape[1] != needed:
            raise ValueError(
                f"a step at context {context} takes {needed} frames (chunk + right + "
                f"{FRONTEND_LOOKAHEAD}), got {features.shape[1]}; use flush for what is left"
            )
        self._check_features(features, state.processed)
        x, frontend = self.frontend(features, None, state.frontend, chunk=context.chunk // 2)
        layout = Layout.of_stream(None, 1, context, state.processed)
        x, layers = self._encode(layout.fold(x), layout, state.layers)
        x = x.squeeze(1) if with_right else layout.at(2).chunks(x)
        return x, EncoderState(frontend, state.processed + context.chunk // 2, layers)

    def flush(
        self, features: Tensor, lengths: Tensor, state: EncoderState, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Encodes what is left when the input has ended; steps and flush together equal forward.

        Args:
            features: (B, n, num_features), everything from the first frame of the next chunk on.
            lengths: (B,) valid frames of it.
            state: After the last step.
            context: The one that the state was made for.

        Returns:
            (B, n', D) and (B,) valid output frames.

        Raises:
            ValueError: As ``step``.
        """
        self._check_stream(context)
        self._check_features(features, lengths)
        num_out = output_frames(features.shape[1])
        x, _ = self.frontend(self._at_least_one_output(features), lengths, state.frontend)
        windows = -(-x.shape[1] // (context.chunk // 2))
        frames = frontend_lengths(lengths)
        layout = Layout.of_stream(frames, windows, context, state.processed)
        x, _ = self._encode(layout.fold(x), layout, state.layers)
        return layout.at(2).unfold(x, num_out), self.output_lengths(lengths)

    @staticmethod
    def _at_least_one_output(features: Tensor) -> Tensor:
        """Pads what is too short for the convolutions; its valid lengths stay zero."""
        missing = MIN_FRAMES - features.shape[1]
        return F.pad(features, (0, 0, 0, missing)) if missing > 0 else features

    def _check_stream(self, context: Context) -> None:
        self.config.check_context(context)
        if not context.streams:
            raise ValueError(
                f"context {context} cannot stream: a stream needs a finite chunk and a finite "
                "left context, as in 32/256/64"
            )

    def _check_features(self, features: Tensor, lengths: Tensor) -> None:
        bins = self.config.num_features
        if features.ndim != 3 or features.shape[2] != bins:
            raise ValueError(f"features must be (B, T, {bins}), got {tuple(features.shape)}")
        if lengths.shape != features.shape[:1]:
            raise ValueError(
                f"lengths must be ({features.shape[0]},), one per utterance, "
                f"got {tuple(lengths.shape)}"
            )
