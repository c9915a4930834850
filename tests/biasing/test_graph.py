"""The graph of phrases knows after any tokens what the phrases themselves say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from biasing.plain_bonus import earned, plain_bonus, promised

from zipformer.biasing.graph import PhraseGraph

V = 5
Phrases = list[tuple[tuple[int, ...], float]]


def random_phrases(seed: int, count: int, longest: int = 5) -> Phrases:
    """Over few tokens, so that they begin alike, overlap and lie within each other."""
    chance = random.Random(seed)
    found = {
        tuple(chance.randrange(1, V) for _ in range(chance.randint(1, longest))): chance.choice(
            [0.5, 1.0, 2.25, -0.75]
        )
        for _ in range(count)
    }
    return list(found.items())


def walk(graph: PhraseGraph, tokens: Sequence[int], root: int = 0) -> tuple[float, float]:
    """What was earned and what is promised after tokens."""
    node, got = torch.tensor([root]), 0.0
    for token in tokens:
        node = graph.follow(node, torch.tensor([token]))
        got += float(graph.reward[node])
    return got, float(graph.promise[node])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 3, 12, 60])
def test_it_earns_and_promises_what_the_phrases_say(seed: int, count: int) -> None:
    phrases = random_phrases(seed, count)
    graph, chance = PhraseGraph.of(phrases, V), random.Random(100 + seed)
    for _ in range(10):
        tokens = tuple(chance.randrange(V) for _ in range(12))
        wanted = earned(phrases, tokens), promised(phrases, tokens)
        assert walk(graph, tokens) == pytest.approx(wanted, abs=1e-12)


def test_a_finished_phrase_has_earned_its_score_for_each_token_and_promises_nothing() -> None:
    graph = PhraseGraph.of([((1, 2, 3), 0.7)], V)
    assert walk(graph, (1, 2, 3)) == pytest.approx((3 * 0.7, 0.0))
    assert walk(graph, (4, 1, 2, 3, 3)) == pytest.approx((3 * 0.7, 0.0))


def test_an_unfinished_phrase_gives_back_exactly_what_it_gained() -> None:
    """With scores that no binary number is."""
    graph = PhraseGraph.of([((1, 2, 3, 4), 0.1), ((3, 1), 0.3)], V)
    assert [walk(graph, (1, 2, 3, 4)[:n]) for n in range(4)] == [
        (0.0, 0.1 * n if n < 3 else max(0.1 * 3, 0.3)) for n in range(4)
    ]
    for tokens in [(1, 2, 4), (1, 2, 3, 2), (3, 3, 2), (1, 1, 2, 0)]:
        assert walk(graph, tokens) == (0.0, 0.0)


def test_the_order_of_the_phrases_changes_nothing_and_the_larger_score_counts() -> None:
    phrases = [*random_phrases(0, 20), ((1, 2), 4.0), ((1, 2), 3.0)]
    one, other = (PhraseGraph.of(each, V) for each in (phrases, phrases[::-1]))
    for name in ("arcs", "targets", "fallback", "promise", "reward"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    rest = [(t, s) for t, s in phrases if t != (1, 2)]
    both = one.follow(one.follow(torch.tensor(0), torch.tensor(1)), torch.tensor(2))
    assert float(one.reward[both]) == 8.0 + earned(rest, (1, 2)) - earned(rest, (1,))


def test_graphs_beside_each_other_are_as_alone() -> None:
    lists = [random_phrases(seed, 8) for seed in range(3)]
    graphs = [PhraseGraph.of([], V), *(PhraseGraph.of(each, V) for each in lists)]
    both, root = PhraseGraph.cat(graphs), 1
    tokens = tuple(random.Random(7).randrange(V) for _ in range(30))
    for phrases, graph in zip(lists, graphs[1:], strict=True):
        assert sum(walk(both, tokens, root)) == pytest.approx(plain_bonus(phrases, tokens))
        root += graph.num_nodes
    assert walk(both, tokens, 0) == (0.0, 0.0)


def test_many_nodes_and_tokens_at_once_are_as_one_by_one() -> None:
    graph = PhraseGraph.of(random_phrases(3, 30), V)
    nodes, tokens = torch.arange(graph.num_nodes)[:, None], torch.arange(V)
    together = graph.follow(nodes, tokens)
    for node in range(graph.num_nodes):
        for token in range(V):
            alone = graph.follow(torch.tensor(node), torch.tensor(token))
            assert int(together[node, token]) == int(alone)
    assert torch.equal(graph.rows(nodes[:, 0]), together)
    assert torch.equal(graph.rows(torch.tensor([5, 0, 5])), together[[5, 0, 5]])


def test_a_phrase_of_thousands_of_tokens_is_one_more_phrase() -> None:
    chance = random.Random(1)
    long = (1, *(chance.randrange(2, V) for _ in range(600)))  # its end is not its beginning
    phrases: Phrases = [(long, 1.0), ((2, 3), 1.0)]
    graph = PhraseGraph.of(phrases, V)
    assert graph.num_nodes == 1 + 601 + 2
    assert walk(graph, long) == (earned(phrases, long), promised([phrases[1]], long))
