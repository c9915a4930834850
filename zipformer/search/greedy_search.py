"""Greedy search for transducers: the best token of every frame, at most one per frame.

The predictor sees only the last few tokens, so its output is kept until a token is emitted. What
is emitted goes into tensors (one column per frame) and becomes lists at the very end: no Python
loop over utterances while frames go by.

Letters: B batch, T encoder output frames (25 Hz), F of them at once, A utterances that still speak,
D channels, J joiner dimension, N frames so far, S tokens that the predictor sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zipformer.model import SpeechModel, require_transducer
from zipformer.search.history import NOTHING, History, take_emitted, to_hypotheses
from zipformer.search.protocol import Hypothesis
from zipformer.search.transducer_search import TransducerSearch

AHEAD = 8  # frames that are joined at once


@dataclass
class GreedyState(History):
    """What streams carry from one step to the next; every column of history is one frame.

    Args:
        processed, emitted, frames, log_probs: As in ``History``, (B, N) columns.
        context: (B, S) int64, the last tokens, which the predictor sees.
        predicted: (B, J), what the joiner makes of the predictor's output for them.
    """

    context: Tensor
    predicted: Tensor


class GreedySearch(TransducerSearch[GreedyState]):
    """Greedy search, batched and step by step (a ``Searcher``); arguments as its base class."""

    @torch.no_grad()
    def initial_state(self, batch_size: int) -> GreedyState:
        """The state before the first frame."""
        context = self._first_context(batch_size)
        none = context[:, :0]
        return GreedyState(
            context=context,
            predicted=self._predict(context),
            processed=torch.zeros_like(context[:, 0]),
            emitted=none,
            frames=none,
            log_probs=none.float(),
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: GreedyState) -> GreedyState:
        """Goes on with the next frames; see ``Searcher.step``."""
        index = torch.arange(encoder_out.shape[1], device=encoder_out.device)
        lengths = lengths.to(encoder_out.device)
        valid = index < lengths[:, None]  # (B, T)
        encoded = self.joiner.project_encoder(encoder_out)  # (B, T, J)
        context, predicted = state.context.clone(), state.predicted.clone()
        emitted, log_probs = [state.emitted], [state.log_probs]
        for some, heard in zip(encoded.split(AHEAD, dim=1), valid.split(AHEAD, dim=1), strict=True):
            tokens, scores = self._speak(some, heard, context, predicted)
            emitted.append(tokens)
            log_probs.append(scores)
        return GreedyState(
            context=context,
            predicted=predicted,
            processed=state.processed + lengths,
            emitted=torch.cat(emitted, dim=1),
            frames=torch.cat([state.frames, state.processed[:, None] + index], dim=1),
            log_probs=torch.cat(log_probs, dim=1),
        )

    def _speak(
        self, encoded: Tensor, valid: Tensor, context: Tensor, predicted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What some frames say.

        Most frames say nothing, and then the next one meets the same predictor output: so all
        frames are joined at once, and once more from behind each token that was found.

        Args:
            encoded: (B, F, J).
            valid: (B, F), which frames there are.
            context, predicted: As in ``GreedyState``; they become what they are afterwards.

        Returns:
            (B, F) tokens, ``NOTHING`` where there is none, and (B, F) log-probabilities.
        """
        index = torch.arange(encoded.shape[1], device=encoded.device)
        emitted = torch.full(valid.shape, NOTHING, device=encoded.device)
        log_probs = torch.zeros(valid.shape, device=encoded.device)
        active = torch.arange(len(encoded), device=encoded.device)  # whose end is not reached
        undecided = valid  # (A, F)
        while True:
            logits = self.joiner(encoded[active], predicted[active, None], project=False)
            log_prob, token = logits.float().log_softmax(dim=-1).max(dim=-1)  # (A, F)
            speaks = self._speaks(token) & undecided
            spoke = speaks.any(dim=1)
            if not spoke.any():
                return emitted, log_probs
            active, first = active[spoke], speaks[spoke].int().argmax(dim=1)
            said = token[spoke].gather(1, first[:, None])
            emitted[active, first] = said[:, 0]
            log_probs[active, first] = log_prob[spoke].gather(1, first[:, None])[:, 0]
            context[active] = torch.cat([context[active, 1:], said], dim=1)
            predicted[active] = self._predict(context[active])
            undecided = undecided[spoke] & (index > first[:, None])

    def hypotheses(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has emitted so far."""
        return to_hypotheses(state.emitted, state.frames, state.log_probs)

    def take(self, state: GreedyState) -> tuple[list[Hypothesis], GreedyState]:
        """Takes what was emitted out of the state, so that a long stream does not grow.

        Returns:
            What each stream has emitted since the last time, and the state that goes on.
        """
        return take_emitted(state)


def greedy(
    model: SpeechModel, encoder_out: Tensor, lengths: Tensor, unk_id: int | None = None
) -> list[Hypothesis]:
    """Greedy search over the encodings of whole utterances.

    Args:
        model: Whose predictor and joiner search.
        encoder_out: (B, T, D).
        lengths: (B,) valid frames.
        unk_id: A token that is treated as blank, as decode.py does with ``<unk>``; None if none is.

    Returns:
        One hypothesis an utterance.

    Raises:
        ValueError: If the model is no transducer.
    """
    predictor, joiner = require_transducer(model, "greedy search needs")
    searcher = GreedySearch(predictor, joiner, predictor.blank_id, unk_id)
    return searcher.decode(encoder_out, lengths)
