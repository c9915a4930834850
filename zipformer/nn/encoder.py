"""The Zipformer encoder: one forward for whole utterances and for streams.

What is unusual here: frame rates that fall and rise again from stack to stack (a U-Net over time),
channel counts that differ between stacks, and right context that is computed again instead of
accumulated, so that look-ahead does not grow with depth (see ``zipformer.nn.layout``).

Letters: B batch, T feature frames, N frames at 50 Hz, K windows, W frames of a window, D channels,
C chunk and R right context in feature frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import FRONTEND_LOOKAHEAD, Context
from zipformer.nn.config import ZipformerConfig
from zipformer.nn.downsample import Downsample
from zipformer.nn.frontend import Frontend
from zipformer.nn.layer import LayerState
from zipformer.nn.layout import Layout
from zipformer.nn.stack import Stack

RightMode = Literal["windowed", "masked"]
MIN_FRAMES = 9  # feature frames that give one output
FEATURE_KEEP = 0.875  # share of the sequences that keep each outer part of the channels


@dataclass
class EncoderState:
    """Everything that streams carry from one step to the next; the stream's axis comes first.

    Args:
        frontend: (B, channels, 3, bins), convolved frames before the next chunk.
        processed: (B,) int64, frames at 50 Hz so far.
        layers: One state per layer, over all stacks.
    """

    frontend: Tensor
    processed: Tensor
    layers: list[LayerState]

    def select(self, streams: Sequence[int] | Tensor) -> EncoderState:
        """The states of some streams, by index along the batch axis."""
        index = torch.as_tensor(streams, dtype=torch.long, device=self.processed.device)
        return self._map(lambda x: x.index_select(0, index))

    def to(self, device: torch.device | str) -> EncoderState:
        """The same states on another device."""
        return self._map(lambda x: x.to(device))

    @staticmethod
    def cat(states: Sequence[EncoderState]) -> EncoderState:
        """Joins streams into one batch; all must be of the same context."""
        columns = [list(state._tensors()) for state in states]
        joined = iter([torch.cat(parts) for parts in zip(*columns, strict=True)])
        return states[0]._map(lambda _: next(joined))

    def pack(self) -> Tensor:
        """(B, S), everything but ``processed`` in one row for each stream."""
        return torch.cat([x.flatten(1) for x in self._tensors() if x.is_floating_point()], dim=1)

    @staticmethod
    def unpack(packed: Tensor, processed: Tensor, like: EncoderState) -> EncoderState:
        """The states that ``pack`` made (B, S) of, with (B,) ``processed``.

        Args:
            packed: From states of the same shapes as ``like``.
            processed: (B,) int64.
            like: States of any number of streams.
        """
        shapes = [x.shape[1:] for x in like._tensors() if x.is_floating_point()]
        parts = packed.split([shape.numel() for shape in shapes], dim=1)
        tensors = iter([x.unflatten(1, s) for x, s in zip(parts, shapes, strict=True)])
        return like._map(lambda x: next(tensors) if x.is_floating_point() else processed)

    def _tensors(self) -> list[Tensor]:
        found: list[Tensor] = []
        self._map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
        return found

    def _map(self, function: Callable[[Tensor], Tensor]) -> EncoderState:
        names = [f.name for f in fields(LayerState)]
        return EncoderState(
            function(self.frontend),
            function(self.processed),
            [LayerState(*(function(getattr(s, n)) for n in names)) for s in self.layers],
        )


class Encoder(nn.Module):
    """Frontend, stacks and output downsampling: features at 100 Hz in, encodings at 25 Hz out.

    Args:
        config: Sizes.
    """

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = Frontend(config)
        self.stacks = nn.ModuleList(Stack(config, i) for i in range(len(config.dims)))
        self.downsample_output = Downsample(2)

    @staticmethod
    def output_lengths(lengths: Tensor) -> Tensor:
        """Output frames (25 Hz) from feature frames: ((T - 7) // 2 + 1) // 2, never negative."""
        return torch.div(Frontend.output_lengths(lengths) + 1, 2, rounding_mode="floor")

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
            lengths: (B,) valid feature frames; what lies behind them changes nothing.
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
        num_out = (max(0, features.shape[1] - 7) // 2 + 1) // 2
        x, _ = self.frontend(self._at_least_one_output(features), lengths)
        frames = Frontend.output_lengths(lengths)
        layout = Layout.of_utterance(frames, x.shape[1], context, right_mode == "windowed")
        x, _ = self._encode(layout.fold(x), layout, [LayerState()] * self.num_layers)
        return layout.at(2).unfold(x, num_out), out_lengths

    def initial_state(self, batch_size: int, context: Context) -> EncoderState:
        """The state of streams that have heard nothing yet.

        Raises:
            ValueError: If the context cannot stream.
        """
        self._check_stream(context)
        weight = self.frontend.out.weight
        layers = []
        for i, num_layers in enumerate(self.config.num_layers):
            c, ds = self.config, self.config.downsampling[i]
            left, past = context.left // 2 // ds, c.kernels[i] // 2
            value = c.num_heads[i] * c.value_head_dim[i]
            shapes = [
                (left, c.num_heads[i] * c.query_head_dim[i]),
                (left, 3 * c.dims[i] // 4),
                (left, value),
                (left, value),
                (past, c.dims[i]),
                (past, c.dims[i]),
            ]
            for _ in range(num_layers):
                layers.append(LayerState(*(weight.new_zeros(batch_size, *s) for s in shapes)))
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
        num_out = (max(0, features.shape[1] - 7) // 2 + 1) // 2
        x, _ = self.frontend(self._at_least_one_output(features), lengths, state.frontend)
        windows = -(-x.shape[1] // (context.chunk // 2))
        frames = Frontend.output_lengths(lengths)
        layout = Layout.of_stream(frames, windows, context, state.processed)
        x, _ = self._encode(layout.fold(x), layout, state.layers)
        return layout.at(2).unfold(x, num_out), self.output_lengths(lengths)

    @property
    def num_layers(self) -> int:
        """Layers of all stacks."""
        return sum(self.config.num_layers)

    def _encode(
        self, x: Tensor, layout: Layout, states: Sequence[LayerState]
    ) -> tuple[Tensor, list[LayerState]]:
        """(B, K, W, D0) at 50 Hz -> (B, K, W, D) at 25 Hz, and the new states."""
        outputs, new_states = [], []
        masks, remaining = self._feature_masks(x), list(states)
        for i, stack in enumerate(self.stacks):
            x = _with_channels(x, self.config.dims[i])
            num_layers = self.config.num_layers[i]
            x, new = stack(x, masks[i], layout, remaining[:num_layers])
            remaining = remaining[num_layers:]
            outputs.append(x)
            new_states += new
        return self.downsample_output(_full_width(outputs), layout), new_states

    def _feature_masks(self, x: Tensor) -> list[Tensor | None]:
        """Takes the outer channels of all stacks away from some sequences, in training.

        One eighth of the sequences loses all channels beyond ``unmasked_dims``, one eighth of the
        others the outer half of those.

        Returns:
            (B, 1, 1, D) of zeros and ones for each stack, or None.
        """
        if not self.training:
            return [None] * len(self.stacks)
        keep = torch.rand(2, x.shape[0], 1, 1, 1, device=x.device) < FEATURE_KEEP
        inner, outer = keep[0].to(x.dtype), (keep[0] & keep[1]).to(x.dtype)
        masks: list[Tensor | None] = []
        for channels, unmasked in zip(self.config.dims, self.config.unmasked_dims, strict=True):
            half = (channels - unmasked) // 2
            parts = [
                torch.ones_like(inner).expand(-1, 1, 1, unmasked),
                inner.expand(-1, 1, 1, half),
                outer.expand(-1, 1, 1, channels - unmasked - half),
            ]
            masks.append(torch.cat(parts, dim=-1))
        return masks

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


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Cuts channels off, or adds zeros."""
    return F.pad(x, (0, channels - x.shape[-1]))


def _full_width(outputs: Sequence[Tensor]) -> Tensor:
    """Joins the stacks' outputs: all of the last, then what earlier ones have beyond its width."""
    parts, width = [outputs[-1]], outputs[-1].shape[-1]
    for x in reversed(outputs[:-1]):
        if x.shape[-1] > width:
            parts.append(x[..., width:])
            width = x.shape[-1]
    return torch.cat(parts, dim=-1)
