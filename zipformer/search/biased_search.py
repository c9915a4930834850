"""What beam searches have in common that can prefer phrases: each stream those that it was given.

Where a hypothesis stands in the phrases, and what it has earned by them, is part of the state, slot
by slot, so that streams may be cut, joined and wait as without phrases.

Letters: B batch, K slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zipformer.biasing import Hotwords
from zipformer.biasing.biasing import Biasing
from zipformer.search.beam_history import AnyBeam
from zipformer.search.protocol import BeamSearcher


class BiasedSearch(BeamSearcher[AnyBeam]):
    """A beam search that prefers phrases; ``_set_hotwords`` comes first."""

    def _set_hotwords(
        self, hotwords: Hotwords | None, silent: Sequence[int], device: torch.device
    ) -> None:
        self._silent, self._device_of_phrases = silent, device
        self._biasing: Biasing | None = None
        self._root = self._root_of(hotwords)

    def prefer(self, state: AnyBeam, hotwords: Sequence[Hotwords | None]) -> AnyBeam:
        """Goes on with other phrases in each of B streams.

        What a stream has earned it keeps; what it had begun of its phrases before counts no more.

        Raises:
            ValueError: If phrases are tokens of another vocabulary.
        """
        roots = torch.tensor([self._root_of(each) for each in hotwords], dtype=torch.int64)
        roots = roots.to(state.nodes.device)
        return replace(state, nodes=roots[:, None].expand_as(state.nodes).clone())

    def _root_of(self, hotwords: Hotwords | None) -> int:
        if hotwords is None:
            return 0
        if self._biasing is None:
            self._biasing = Biasing(hotwords.vocabulary, self._silent, self._device_of_phrases)
        return self._biasing.root(hotwords)

    def _worth_of_tokens(self, state: AnyBeam) -> Tensor | float:
        """(B, K, V) what every token would be worth besides its log-probability."""
        return 0.0 if self._biasing is None else self._biasing.worth(state.nodes)

    def _promise(self, state: AnyBeam) -> Tensor | float:
        """(B, K) what slots are worth besides, as long as they stand where they stand."""
        return 0.0 if self._biasing is None else self._biasing.promise(state.nodes)

    def _bias(self, state: AnyBeam, parents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes, and what was earned, of (B, K) slots that go on from others; -1 is no token."""
        if self._biasing is None:
            return state.nodes, state.earned
        nodes, more = self._biasing.go_on(state.nodes.gather(1, parents), tokens)
        return nodes, state.earned.gather(1, parents) + more
