"""The networks of an export, each with the inputs and outputs that sherpa-onnx expects.

They call the model's own modules; nothing is computed in another way.

Letters: N streams or utterances, T feature frames, T' encoder output frames, J joiner dimension,
V vocabulary, P what an encoder's graph gives: J with a transducer, V with a CTC head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import Context
from zipformer.export import states
from zipformer.export.parts import Parts, TransducerParts
from zipformer.nn.streaming_encoder import MIN_FRAMES
from zipformer.nn.zipformer.encoder import Encoder


class EncoderStep(nn.Module):
    """A step of streams, with the joiner's projection of the encoder's output, or the CTC head.

    Args:
        parts: Whose encoder.
        context: One that can stream.
    """

    def __init__(self, parts: Parts, context: Context) -> None:
        super().__init__()
        self.encoder = parts.encoder
        self.projection = parts.projection
        self.context = context

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """(N, C + R + 13, features) and a state's tensors -> (N, C / 4, P) and the new ones."""
        channels = self.encoder.config.frontend_channels[-1]
        before = states.from_list(state, channels)
        out, after = self.encoder.step(x, before, self.context)
        return self.projection(out), *states.to_list(after)


class WholeEncoder(nn.Module):
    """Whole utterances with full context, with the joiner's projection, or the CTC head.

    Args:
        parts: Whose encoder.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.encoder = parts.encoder
        self.projection = parts.projection

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, features) and (N,) -> (N, T', P) and (N,), T' of T feature frames."""
        # A graph has no branch for what is too short for the convolutions: all are padded.
        padded = F.pad(x, (0, 0, 0, MIN_FRAMES))
        out, lengths = self.encoder(padded, x_lens)
        num_out = Encoder.output_lengths(torch.zeros((), dtype=torch.int64) + x.shape[1])
        return self.projection(out[:, :num_out]), lengths


class PredictorOutput(nn.Module):
    """The predictor, with the joiner's projection of its output.

    Args:
        parts: Whose predictor.
    """

    def __init__(self, parts: TransducerParts) -> None:
        super().__init__()
        self.predictor = parts.predictor
        self.projection = parts.joiner.decoder_proj

    def forward(self, y: Tensor) -> Tensor:
        """(N, context size) tokens, -1 for none -> (N, J)."""
        return self.projection(self.predictor(y, pad=False)).squeeze(1)


class JoinerOutput(nn.Module):
    """What is left of the joiner when its inputs are projected.

    Args:
        parts: Whose joiner.
    """

    def __init__(self, parts: TransducerParts) -> None:
        super().__init__()
        self.joiner = parts.joiner

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        """(N, J) and (N, J) -> (N, V) logits."""
        return self.joiner(encoder_out, decoder_out, project=False)
