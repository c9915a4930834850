"""What phrases mean to a beam search: what every token would be worth, and what was earned.

A search ranks hypotheses by their log-probability, by what they have earned, and by what the node
where they stand promises; the promise is worth nothing in the end. Log-probabilities stay as they
are, and nothing is added and subtracted again that could leave a rest.

What every token is worth at a node is a row of the whole vocabulary. Rows are made where they are
first needed and kept, as hypotheses stand at few nodes; there is no loop over hypotheses.

Letters: B batch, K slots, V vocabulary, N nodes of all graphs, M rows that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zipformer.biasing.graph import PhraseGraph
from zipformer.biasing.hotwords import Hotwords

MOST_BYTES = 1 << 26  # of rows that are kept, if no step needs more at once
FEWEST_ROWS = 64


class Biasing:
    """Lists of phrases under which hypotheses of one search stand, each stream under its own.

    Args:
        vocabulary: Number of token ids.
        silent: Tokens for which nothing is emitted: a hypothesis stays at its node.
        device: Of the search.
    """

    def __init__(self, vocabulary: int, silent: Sequence[int], device: torch.device) -> None:
        self.vocabulary = vocabulary
        self._silent = torch.tensor(sorted(set(silent)), device=device)
        self._graph = PhraseGraph.of([], vocabulary).to(device)
        self._roots: dict[Hotwords, int] = {}
        self._value: Tensor  # (N,) float32, of arriving at a node
        self._row_of: Tensor  # (N,) int64, -1 where there is no row
        self._next: Tensor  # (M, V) int32, the node that each token leads to
        self._worth: Tensor  # (M, V) float32
        self._used = 0
        self._forget(FEWEST_ROWS)

    def root(self, hotwords: Hotwords | None) -> int:
        """The node before the first token under a list of phrases; 0 for none.

        Raises:
            ValueError: If the phrases are tokens of another vocabulary.
        """
        if hotwords is None:
            return 0
        if hotwords.vocabulary != self.vocabulary:
            raise ValueError(
                f"the phrases {hotwords.name} are tokens of a vocabulary of {hotwords.vocabulary}, "
                f"and this model has one of {self.vocabulary}: read the file for this model"
            )
        if hotwords not in self._roots:
            self._roots[hotwords] = self._graph.num_nodes
            device = self._silent.device
            with torch.inference_mode(False):
                self._graph = PhraseGraph.cat([self._graph, hotwords.graph.to(device)])
            self._forget(len(self._worth))
        return self._roots[hotwords]

    def worth(self, nodes: Tensor) -> Tensor:
        """(B, K) nodes -> (B, K, V) float32, what would be earned and promised with each token."""
        rows = self._rows(nodes)  # it may make another table
        return self._worth[rows]

    def promise(self, nodes: Tensor) -> Tensor:
        """(B, K) nodes -> (B, K) float64, what is promised there."""
        return self._graph.promise[nodes]

    def go_on(self, nodes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) nodes after tokens, -1 for nothing, and (B, K) float64 what these have earned."""
        speaks = tokens >= 0
        rows = self._rows(nodes)
        after = self._next[rows, tokens.clamp(min=0)].long()
        reward = self._graph.reward[after]
        return torch.where(speaks, after, nodes), reward.masked_fill(~speaks, 0.0)

    def _rows(self, nodes: Tensor) -> Tensor:
        rows = self._row_of[nodes]
        if bool((rows < 0).any()):
            with torch.inference_mode(False):
                self._make_rows(nodes, rows < 0)
            rows = self._row_of[nodes]
        return rows

    def _make_rows(self, nodes: Tensor, missing: Tensor) -> None:
        new = nodes[missing].unique()
        most = max(MOST_BYTES // (8 * self.vocabulary), len(self._worth))
        if self._used + len(new) > most:
            self._forget(len(self._worth))
            new = nodes.unique()  # all that are needed now; the others are made again in time
        while self._used + len(new) > len(self._worth):
            self._next = torch.cat([self._next, torch.zeros_like(self._next)])
            self._worth = torch.cat([self._worth, torch.zeros_like(self._worth)])
        rows = slice(self._used, self._used + len(new))
        after = self._graph.rows(new)
        worth = self._value[after]
        after[:, self._silent] = new[:, None]
        worth[:, self._silent] = self._graph.promise[new][:, None].float()
        self._next[rows], self._worth[rows] = after.int(), worth
        self._row_of[new] = torch.arange(rows.start, rows.stop, device=new.device)
        self._used = rows.stop

    def _forget(self, num_rows: int) -> None:
        """No row is known; there is room for so many."""
        device = self._silent.device
        with torch.inference_mode(False):
            self._value = (self._graph.promise + self._graph.reward).float()
            self._row_of = torch.full((self._graph.num_nodes,), -1, device=device)
            self._next = torch.zeros(num_rows, self.vocabulary, dtype=torch.int32, device=device)
            self._worth = torch.zeros(num_rows, self.vocabulary, device=device)
        self._used = 0
