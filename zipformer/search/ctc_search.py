"""Searches over the outputs of a CTC head (Graves et al., ICML 2006), and the greedy one.

Letters: B batch, T encoder output frames (25 Hz), D channels, V vocabulary, N frames so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zipformer.search.history import NOTHING, History, take_emitted, to_hypotheses
from zipformer.search.protocol import Hypothesis, Searcher, State


class CtcSearch(Searcher[State]):
    """A search over the log-probabilities that a CTC head gives to every frame.

    Args:
        output: The head, (B, T, D) -> (B, T, V) log-probabilities.
        blank_id: The token that means "nothing here".
        unk_id: A token that is treated as blank; None if there is none.
    """

    def __init__(self, output: nn.Module, blank_id: int = 0, unk_id: int | None = None) -> None:
        self.output = output
        self.blank_id = blank_id
        self.unk_id = blank_id if unk_id is None else unk_id

    def _device(self) -> torch.device:
        weight = next(self.output.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device  # none in a graph


@dataclass
class CtcGreedyState(History):
    """What streams carry from one step to the next; every column of history is one frame.

    Args:
        processed, emitted, frames, log_probs: As in ``History``, (B, N) columns.
        previous: (B,) int64, the best token of the last frame, be it blank.
    """

    previous: Tensor


class CtcGreedySearch(CtcSearch[CtcGreedyState]):
    """The best token of every frame, repeats and blanks left out (a ``Searcher``).

    A token counts at the first frame of its run. Arguments as its base class.
    """

    def initial_state(self, batch_size: int) -> CtcGreedyState:
        """The state before the first frame."""
        none = torch.zeros(batch_size, 0, dtype=torch.int64, device=self._device())
        return CtcGreedyState(
            processed=none.new_zeros(batch_size),
            emitted=none,
            frames=none,
            log_probs=none.float(),
            previous=none.new_full((batch_size,), self.blank_id),
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: CtcGreedyState) -> CtcGreedyState:
        """Goes on with the next frames; see ``Searcher.step``."""
        lengths = lengths.to(encoder_out.device)
        index = torch.arange(encoder_out.shape[1], device=encoder_out.device)
        log_probs, token = self.output(encoder_out).float().max(dim=2)  # (B, T)
        run = torch.cat([state.previous[:, None], token], dim=1)  # (B, T + 1)
        speaks = (token != run[:, :-1]) & (token != self.blank_id) & (token != self.unk_id)
        speaks &= index < lengths[:, None]
        frames = state.processed[:, None] + index
        return CtcGreedyState(
            processed=state.processed + lengths,
            emitted=torch.cat([state.emitted, token.masked_fill(~speaks, NOTHING)], dim=1),
            frames=torch.cat([state.frames, frames], dim=1),
            log_probs=torch.cat([state.log_probs, log_probs], dim=1),
            previous=run.gather(1, lengths[:, None]).squeeze(1),
        )

    def hypotheses(self, state: CtcGreedyState) -> list[Hypothesis]:
        """What each stream has emitted so far."""
        return to_hypotheses(state.emitted, state.frames, state.log_probs)

    def take(self, state: CtcGreedyState) -> tuple[list[Hypothesis], CtcGreedyState]:
        """Takes what was emitted out of the state, so that a long stream does not grow."""
        return take_emitted(state)
