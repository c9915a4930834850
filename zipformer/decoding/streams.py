"""Whole utterances through the encoder as a live stream would take them, chunk by chunk.

The result is that of ``right_mode = "windowed"`` to float rounding; memory does not grow with the
length of the audio, except for the encodings themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.context import FRONTEND_LOOKAHEAD, Context
from zipformer.nn.encoder import Encoder


@torch.no_grad()
def encode_stream(encoder: Encoder, features: Tensor, context: Context) -> Tensor:
    """One utterance in steps, and the flush that ends it.

    Args:
        encoder: In evaluation mode.
        features: (T, num_features).
        context: One that can stream.

    Returns:
        (T', D), T' = ((T - 7) // 2 + 1) // 2.

    Raises:
        ValueError: If the context cannot stream.
    """
    state = encoder.initial_state(1, context)
    needed = context.window + FRONTEND_LOOKAHEAD
    outputs, start = [], 0
    while start + needed <= len(features):
        out, state = encoder.step(features[None, start : start + needed], state, context)
        outputs.append(out[0])
        start += context.chunk
    rest = features[None, start:]
    lengths = torch.tensor([rest.shape[1]], device=features.device)
    out, out_lengths = encoder.flush(rest, lengths, state, context)
    return torch.cat([*outputs, out[0, : int(out_lengths[0])]])


@torch.no_grad()
def encode_streams(
    encoder: Encoder, features: Tensor, lengths: Tensor, context: Context
) -> tuple[Tensor, Tensor]:
    """A batch of utterances, one stream after another.

    Args:
        encoder: In evaluation mode.
        features: (B, T, num_features).
        lengths: (B,) valid frames.
        context: One that can stream.

    Returns:
        (B, T', D) and (B,), as ``Encoder.forward``.
    """
    encoded = [
        encode_stream(encoder, frames[:length], context)
        for frames, length in zip(features, lengths.tolist(), strict=True)
    ]
    out_lengths = torch.tensor([len(e) for e in encoded], device=lengths.device)
    longest = int(out_lengths.max())
    padded = [F.pad(e, (0, 0, 0, longest - len(e))) for e in encoded]
    return torch.stack(padded), out_lengths
