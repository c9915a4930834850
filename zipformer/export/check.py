"""Compares an export with the model that it was made of, on real speech and step by step.

Letters: J joiner dimension, T' encoder output frames (25 Hz), P as in ``runtime``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zipformer.context import Context
from zipformer.export import feeding, states
from zipformer.export.parts import Parts, TransducerParts, parts_of
from zipformer.export.runtime import OnnxEncoder, OnnxModel
from zipformer.model import SpeechModel
from zipformer.search import make_searcher

LIMIT = 1e-3  # absolute, of files in float32


@dataclass(frozen=True)
class Check:
    """How far an export lies from its model; errors are largest absolute ones.

    Args:
        utterances: That were compared.
        same_tokens: How many of them give the same tokens at the same frames.
        encoder: Error of the encoder's projected outputs, or of CTC's log-probabilities.
        state: Error of the state after a step, over all caches, relative to the largest value of a
            cache where that is above 1; 0 for an offline export.
        predictor: Error of the predictor's projected outputs; 0 without a transducer.
        joiner: Error of the joiner's logits; 0 without a transducer.
    """

    utterances: int = 0
    same_tokens: int = 0
    encoder: float = 0.0
    state: float = 0.0
    predictor: float = 0.0
    joiner: float = 0.0

    def __add__(self, other: Check) -> Check:
        return Check(
            self.utterances + other.utterances,
            self.same_tokens + other.same_tokens,
            max(self.encoder, other.encoder),
            max(self.state, other.state),
            max(self.predictor, other.predictor),
            max(self.joiner, other.joiner),
        )

    @property
    def max_error(self) -> float:
        """The largest of the errors."""
        return max(self.encoder, self.state, self.predictor, self.joiner)

    @property
    def passed(self) -> bool:
        """Whether the export may be used in place of the model."""
        return self.max_error <= LIMIT and self.same_tokens == self.utterances

    def __str__(self) -> str:
        return (
            f"max error {self.max_error:.1e} (encoder {self.encoder:.1e}, state {self.state:.1e}, "
            f"predictor {self.predictor:.1e}, joiner {self.joiner:.1e}); same tokens in "
            f"{self.same_tokens} of {self.utterances} utterances"
        )


def check(model: SpeechModel, directory: Path, audio: Sequence[Tensor | np.ndarray]) -> Check:
    """Compares the float32 files of an export, streaming or offline, with PyTorch.

    A stream takes the same steps in both, and each goes on from its own states, so that errors
    could grow.

    Args:
        model: That the export was made of.
        directory: Of the export.
        audio: Recordings, each (N,) samples at the model's sample rate in [-1, 1].
    """
    export = OnnxModel(directory)
    encoder = export.encoder
    context = encoder.context if isinstance(encoder, OnnxEncoder) else Context.full()
    parts = parts_of(model, context, "transducer" if export.joiner else "ctc")
    results = (_check_one(parts, export, export.features(samples)) for samples in audio)
    return sum(results, Check())


@torch.no_grad()
def _check_one(parts: Parts, export: OnnxModel, features: Tensor) -> Check:
    """One utterance (T, num_features)."""
    compare = _encode_steps if isinstance(export.encoder, OnnxEncoder) else _encode_whole
    ours, theirs, state = compare(parts, export, features)
    projected = parts.projection(ours)  # (1, T', P)
    lengths = torch.tensor([theirs.shape[1]])
    (wanted,) = make_searcher(parts, export.tokens).decode(ours, lengths)
    (heard,) = make_searcher(export, export.tokens).decode(theirs, lengths)
    predictor = joiner = 0.0
    if isinstance(parts, TransducerParts):
        predictor, joiner = _compare_heads(parts, export, projected[0], wanted.tokens)
    return Check(
        utterances=1,
        same_tokens=int((heard.tokens, heard.frames) == (wanted.tokens, wanted.frames)),
        encoder=_distance(projected, theirs),
        state=state,
        predictor=predictor,
        joiner=joiner,
    )


def _encode_steps(
    parts: Parts, export: OnnxModel, features: Tensor
) -> tuple[Tensor, Tensor, float]:
    """(1, T', D) of the model, (1, T', P) of the export, and the largest error of a state."""
    assert isinstance(export.encoder, OnnxEncoder)
    context = export.encoder.context
    state, other = parts.encoder.initial_state(1, context), export.encoder.initial_state(1)
    worst, ours, theirs = 0.0, [], []
    for step in range(feeding.num_steps(context, len(features))):
        start = step * context.chunk
        window = features[None, start : start + feeding.step_frames(context)]
        out, state = parts.encoder.step(window, state, context)
        other_out, other = export.encoder.step(window, other)
        ours.append(out)
        theirs.append(other_out)
        pairs = zip(states.to_list(state), states.to_list(other), strict=True)
        worst = max(worst, *(_distance(a, b) / max(1.0, float(a.abs().max())) for a, b in pairs))
    return torch.cat(ours, dim=1), torch.cat(theirs, dim=1), worst


def _encode_whole(
    parts: Parts, export: OnnxModel, features: Tensor
) -> tuple[Tensor, Tensor, float]:
    """The same of an offline export, which has no state."""
    lengths = torch.tensor([len(features)])
    ours, out_lengths = parts.encoder(features[None], lengths)
    theirs, other_lengths = export.encoder(features[None], lengths)
    assert out_lengths.tolist() == other_lengths.tolist()
    return ours, theirs, 0.0


def _compare_heads(
    parts: TransducerParts, export: OnnxModel, projected: Tensor, tokens: Sequence[int]
) -> tuple[float, float]:
    """Errors of predictor and joiner at (T', J) frames, after each of an utterance's tokens."""
    assert export.predictor and export.joiner, "it was exported from a transducer"
    size = export.predictor.context_size
    history = torch.tensor([-1] * (size - 1) + [parts.predictor.blank_id, *tokens])
    contexts = history.unfold(0, size, 1)
    predicted = parts.joiner.decoder_proj(parts.predictor(contexts, pad=False)).squeeze(1)
    predictor = _distance(predicted, export.predictor(contexts, pad=False).squeeze(1))
    after = predicted[torch.arange(len(projected)) % len(predicted)]
    logits = parts.joiner(projected, after, project=False)
    return predictor, _distance(logits, export.joiner(projected, after, project=False))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0
