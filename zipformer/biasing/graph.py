"""The graph of a list of phrases: where a hypothesis stands in them, and what that is worth.

An automaton of Aho and Corasick (1975) over tokens. A node is a beginning of a phrase, the root the
empty one; after any tokens a hypothesis stands at the longest beginning that they end in. Whoever
cannot go on falls back to the longest shorter one. Two numbers belong to a node:

- its reward, of all phrases that end there: a hypothesis that arrives has earned it for good,
- its promise, of what is begun there: it counts while the hypothesis stands there, no longer.

So what a hypothesis gains on the way into a phrase is gone exactly where it leaves the phrase
unfinished, and a finished phrase has earned its bonus, no more. Phrases within others, and those
that overlap, count each for itself.

Nodes are numbered level by level, so that arcs, written as ``node * vocabulary + token``, come
sorted and an arc is found by bisection. A hundred thousand phrases take about a second to build.

Letters: P phrases, N nodes, A arcs, V vocabulary, M nodes of interest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain

import torch
from torch import Tensor


@dataclass(frozen=True)
class PhraseGraph:
    """One automaton, or several beside each other, each with a root of its own.

    Args:
        vocabulary: Number of token ids.
        arcs: (A,) int64, sorted: ``node * vocabulary + token``.
        targets: (A,) int64, the node that each leads to.
        fallback: (N,) int64, where a node falls back to; a root to itself.
        promise: (N,) float64, what the unfinished phrases of a node are worth.
        reward: (N,) float64, what the phrases that end at a node are worth.
    """

    vocabulary: int
    arcs: Tensor
    targets: Tensor
    fallback: Tensor
    promise: Tensor
    reward: Tensor

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.fallback)

    @staticmethod
    def of(phrases: Sequence[tuple[Sequence[int], float]], vocabulary: int) -> PhraseGraph:
        """The graph of tokens and the score of each of them, phrase by phrase.

        Args:
            phrases: None is empty. Where tokens come twice, the larger score counts.
            vocabulary: Number of token ids.
        """
        assert all(len(tokens) for tokens, _ in phrases)
        tokens = torch.tensor(list(chain.from_iterable(t for t, _ in phrases)), dtype=torch.int64)
        lengths = torch.tensor([len(t) for t, _ in phrases], dtype=torch.int64)
        scores = torch.tensor([score for _, score in phrases], dtype=torch.float64)
        return _grown(tokens, lengths, scores, vocabulary)

    @staticmethod
    def cat(graphs: Sequence[PhraseGraph]) -> PhraseGraph:
        """Several graphs beside each other; nodes of the first keep their numbers."""
        vocabulary, first = graphs[0].vocabulary, 0
        parts = []
        for graph in graphs:
            shifted = graph.arcs + first * vocabulary, graph.targets + first, graph.fallback + first
            parts.append((*shifted, graph.promise, graph.reward))
            first += graph.num_nodes
        return PhraseGraph(vocabulary, *map(torch.cat, zip(*parts, strict=True)))

    def to(self, device: torch.device) -> PhraseGraph:
        """The same on another device."""
        tensors = [getattr(self, f.name) for f in fields(self)[1:]]
        return PhraseGraph(self.vocabulary, *(x.to(device) for x in tensors))

    def follow(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        """The nodes that tokens lead to from nodes; shapes as they broadcast, int64."""
        nodes, tokens = torch.broadcast_tensors(nodes, tokens)
        found, tokens = nodes.flatten().clone(), tokens.flatten()
        if not len(self.arcs):
            return found.view(nodes.shape)
        rest, at = torch.arange(len(found), device=found.device), found.clone()
        while len(rest):
            arc = at * self.vocabulary + tokens[rest]
            place = torch.searchsorted(self.arcs, arc).clamp(max=len(self.arcs) - 1)
            there = self.arcs[place] == arc
            found[rest] = torch.where(there, self.targets[place], at)  # a root stays where it is
            shorter = self.fallback[at]
            undecided = ~there & (shorter != at)
            rest, at = rest[undecided], shorter[undecided]
        return found.view(nodes.shape)

    def rows(self, nodes: Tensor) -> Tensor:
        """(M,) nodes -> (M, V) int64, the nodes that all tokens lead to."""
        shorter = [nodes]
        while bool((self.fallback[shorter[-1]] != shorter[-1]).any()):
            shorter.append(self.fallback[shorter[-1]])
        found = shorter[-1][:, None].repeat(1, self.vocabulary)  # a root, where it has no arc
        at = torch.full_like(nodes, -1)
        for longer in reversed(shorter):
            (changed,) = (longer != at).nonzero(as_tuple=True)
            at = longer
            begin = at[changed] * self.vocabulary
            first, end = (
                torch.searchsorted(self.arcs, x) for x in (begin, begin + self.vocabulary)
            )
            counts = end - first
            row = changed.repeat_interleave(counts)
            skipped = (counts.cumsum(0) - counts - first).repeat_interleave(counts)
            arc = torch.arange(len(row), device=at.device) - skipped
            found[row, self.arcs[arc] % self.vocabulary] = self.targets[arc]
        return found


def _grown(tokens: Tensor, lengths: Tensor, scores: Tensor, vocabulary: int) -> PhraseGraph:
    """The graph of P phrases: (all tokens,) one after another, (P,) lengths and scores."""
    most = len(tokens) + 1
    arcs, fallback = tokens.new_zeros(most - 1), tokens.new_zeros(most)
    targets = torch.arange(1, most)
    promise, reward = scores.new_zeros(most), scores.new_zeros(most)
    starts = lengths.cumsum(0) - lengths
    at, rows = torch.zeros_like(lengths), torch.arange(len(lengths))
    depth, last = 0, 1  # nodes so far

    def so_far() -> PhraseGraph:
        known = arcs[: last - 1], targets[: last - 1], fallback[:last]
        return PhraseGraph(vocabulary, *known, promise[:last], reward[:last])

    while len(rows := rows[lengths[rows] > depth]):
        new, place = (at[rows] * vocabulary + tokens[starts[rows] + depth]).unique(
            return_inverse=True
        )
        at[rows] = last + place
        parents, by = new // vocabulary, new % vocabulary
        shorter = so_far().follow(fallback[parents], by) if depth else torch.zeros_like(new)
        depth += 1
        gain, goes_on = scores[rows] * depth, lengths[rows] > depth
        begun = _largest(gain[goes_on], place[goes_on], len(new))
        ended = _largest(gain[~goes_on], place[~goes_on], len(new))
        level = slice(last, last + len(new))
        arcs[last - 1 : last - 1 + len(new)] = new
        fallback[level] = shorter
        promise[level] = torch.maximum(begun.clamp(min=0.0), promise[shorter])
        reward[level] = ended.masked_fill(ended == -torch.inf, 0.0) + reward[shorter]
        last += len(new)
    return so_far()


def _largest(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """(count,) the largest value of each group; minus infinity of none."""
    nothing = values.new_full((count,), -torch.inf)
    return nothing.scatter_reduce(0, groups, values, "amax")
