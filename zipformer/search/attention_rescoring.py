"""Hypotheses of another search, chosen between by the attention decoder.

The decoder looks at a whole utterance, so that its word counts when the utterance ends: until then
the search goes on as it would alone, and the state keeps the encoder's outputs. What all hypotheses
begin with is final all the same, as none of them can be chosen without it.

Letters: B batch, T encoder output frames (25 Hz), D channels, M frames so far, N tokens taken,
U tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipformer.heads.attention_decoder import AttentionDecoder
from zipformer.search.history import NOTHING
from zipformer.search.protocol import BeamSearcher, Hypothesis, Searcher, SearchState

AT_ONCE = 64  # hypotheses that are scored together


@dataclass
class RescoringState:
    """What streams carry from one step to the next; the stream's axis comes first.

    Args:
        search: The state of the first search.
        encoder_out: (B, M, D), all frames so far, zeros after them.
        lengths: (B,) int64, valid frames of these.
        taken: (B, N) int64, tokens that were taken, -1 after them.
    """

    search: SearchState
    encoder_out: Tensor
    lengths: Tensor
    taken: Tensor

    def to(self, device: torch.device | str) -> RescoringState:
        """The same states on another device."""
        return RescoringState(*(getattr(self, f.name).to(device) for f in fields(self)))

    def select(self, streams: Sequence[int] | Tensor) -> RescoringState:
        """The states of some streams, by index along the batch axis."""
        index = torch.as_tensor(streams, dtype=torch.long, device=self.lengths.device)
        lengths = self.lengths[index]
        taken = self.taken[index]
        longest = int((taken != NOTHING).sum(dim=1).amax()) if len(index) else 0
        return RescoringState(
            search=self.search.select(streams),
            # a stream takes along what it has heard, not what others have
            encoder_out=self.encoder_out[index, : int(lengths.max()) if len(index) else 0],
            lengths=lengths,
            taken=taken[:, :longest],
        )

    @staticmethod
    def cat(states: Sequence[RescoringState]) -> RescoringState:
        """Joins streams into one batch; they may have heard different numbers of frames."""
        frames = max(state.encoder_out.shape[1] for state in states)
        tokens = max(state.taken.shape[1] for state in states)
        searches = [state.search for state in states]
        return RescoringState(
            search=type(searches[0]).cat(searches),
            encoder_out=torch.cat(
                [F.pad(s.encoder_out, (0, 0, 0, frames - s.encoder_out.shape[1])) for s in states]
            ),
            lengths=torch.cat([state.lengths for state in states]),
            taken=torch.cat(
                [F.pad(s.taken, (0, tokens - s.taken.shape[1]), value=NOTHING) for s in states]
            ),
        )


class AttentionRescoring(Searcher[RescoringState]):
    """Rescoring of n-best lists (a ``Searcher``).

    The hypothesis with the greatest ``(1 - weight) first + weight attention`` wins: log-probability
    of the first search, and of the attention decoder for the whole transcript and its end. Frames
    and log-probabilities of tokens are those of the first search.

    A stream holds the encoder's outputs of the whole utterance: this is for utterances, not for
    streams without an end.

    Args:
        search: Finds the hypotheses.
        decoder: The attention decoder of the same model.
        weight: Of the attention decoder, from 0 to 1.

    Raises:
        ValueError: If the weight is not between 0 and 1.
    """

    def __init__(
        self, search: BeamSearcher[Any], decoder: AttentionDecoder, weight: float = 0.5
    ) -> None:
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"the weight {weight:g} of the attention decoder must be 0 to 1")
        self.search = search
        self.decoder = decoder
        self.weight = weight

    def initial_state(self, batch_size: int) -> RescoringState:
        """The state before the first frame."""
        device = self.decoder.embed.weight.device
        lengths = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return RescoringState(
            search=self.search.initial_state(batch_size),
            encoder_out=torch.zeros(batch_size, 0, self.decoder.encoder_dim, device=device),
            lengths=lengths,
            taken=lengths.new_zeros(batch_size, 0),
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: RescoringState) -> RescoringState:
        """Goes on with the next frames; see ``Searcher.step``."""
        lengths = lengths.to(encoder_out.device)
        after = state.lengths + lengths
        index = torch.arange(encoder_out.shape[1], device=lengths.device)
        stream, frame = (index < lengths[:, None]).nonzero(as_tuple=True)
        longest = int(after.max()) if len(after) else 0
        heard = F.pad(state.encoder_out, (0, 0, 0, longest - state.encoder_out.shape[1]))
        new = encoder_out[stream, frame].to(heard.dtype)
        return replace(
            state,
            search=self.search.step(encoder_out, lengths, state.search),
            encoder_out=heard.index_put((stream, state.lengths[stream] + frame), new),
            lengths=after,
        )

    @torch.no_grad()
    def hypotheses(self, state: RescoringState) -> list[Hypothesis]:
        """The best of the hypotheses if the utterances ended here, without what was taken."""
        lists = self.search.n_best(state.search)
        taken = [[i for i in row if i != NOTHING] for row in state.taken.tolist()]
        rows = [  # where there is a choice
            (i, candidate, torch.tensor(taken[i] + candidate.hypothesis.tokens, dtype=torch.int64))
            for i, candidates in enumerate(lists)
            for candidate in candidates
            if len(candidates) > 1
        ]
        best = {i: (-torch.inf, candidates[0]) for i, candidates in enumerate(lists)}
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            attention = self._attention([(i, tokens) for i, _, tokens in part], state)
            for (i, candidate, _), log_prob in zip(part, attention, strict=True):
                score = (1.0 - self.weight) * candidate.score + self.weight * log_prob
                if score > best[i][0]:
                    best[i] = score, candidate
        return [best[i][1].hypothesis for i in range(len(lists))]

    def take(self, state: RescoringState) -> tuple[list[Hypothesis], RescoringState]:
        """Takes what all hypotheses begin with; the tokens stay known to the state."""
        found, search = self.search.take(state.search)
        device = state.lengths.device
        before = [row[row != NOTHING] for row in state.taken]
        longer = [
            torch.cat([row, torch.tensor(new.tokens, dtype=torch.int64, device=device)])
            for row, new in zip(before, found, strict=True)
        ]
        taken = pad_sequence(longer, True, NOTHING) if longer else state.taken
        return found, replace(state, search=search, taken=taken)

    def _attention(self, rows: Sequence[tuple[int, Tensor]], state: RescoringState) -> list[float]:
        """Log-probabilities of transcripts (U,), each of a stream."""
        device = state.lengths.device
        owners = torch.tensor([i for i, _ in rows], device=device)
        lengths = state.lengths[owners]
        return self.decoder.log_probs(
            pad_sequence([tokens for _, tokens in rows], batch_first=True).to(device),
            torch.tensor([len(tokens) for _, tokens in rows], device=device),
            state.encoder_out[owners, : int(lengths.max())],
            lengths,
        ).tolist()
