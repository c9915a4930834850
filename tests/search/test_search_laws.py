"""Every search gives one answer, however frames are cut into steps and streams into batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search.searches import SEARCHES
from search.talkative_heads import D, append, assert_same, frames, in_steps
from torch import Tensor

from zipformer.search.protocol import Hypothesis, Searcher

Search = Searcher[Any]


@pytest.fixture(params=SEARCHES)
def search(request: pytest.FixtureRequest) -> Search:
    return SEARCHES[request.param]()


@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=12)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 1000))
def test_what_is_taken_and_the_rest_are_the_whole_for_any_cutting_into_steps(
    name: str, sizes: list[int], seed: int
) -> None:
    search, total = SEARCHES[name](), sum(sizes)
    encoded = frames(3, total, seed=seed)
    lengths = torch.tensor([total, total // 2, max(total - 3, 0)])
    whole, _ = in_steps(search, encoded, lengths, sizes)
    assert_same(whole, search.decode(encoded, lengths))


def test_every_search_has_much_to_say(search: Search) -> None:
    """Otherwise the laws here would hold for silence."""
    encoded, lengths = frames(2, 60), torch.tensor([60, 60])
    whole, _ = in_steps(search, encoded, lengths, [10] * 6)
    assert all(len(hypothesis.tokens) > 5 for hypothesis in whole)


def test_nothing_has_been_heard_before_the_first_frame(search: Search) -> None:
    lengths = torch.tensor([0, 0])
    assert search.decode(frames(2, 5), lengths) == [Hypothesis(), Hypothesis()]
    assert search.decode(torch.zeros(2, 0, D), lengths) == [Hypothesis(), Hypothesis()]


def test_a_batch_of_no_streams_is_none(search: Search) -> None:
    assert search.decode(torch.zeros(0, 5, D), torch.zeros(0, dtype=torch.int64)) == []
    assert search.take(search.initial_state(0))[0] == []


def test_batch_mates_and_what_lies_behind_the_end_change_nothing(search: Search) -> None:
    encoded, lengths = frames(4, 33), torch.tensor([33, 7, 20, 1])
    alone = [
        search.decode(encoded[i : i + 1, :n], lengths[i : i + 1])[0] for i, n in enumerate(lengths)
    ]
    for i, n in enumerate(lengths):
        encoded[i, n:] = torch.nan
    assert_same(search.decode(encoded, lengths), alone)
    order = [2, 0, 3, 1]
    assert_same(search.decode(encoded[order], lengths[order]), [alone[i] for i in order])


def test_a_stream_that_waits_while_others_go_on_keeps_its_times(search: Search) -> None:
    encoded = frames(2, 30)
    state = search.initial_state(2)
    state = search.step(encoded[:, :10], torch.tensor([10, 10]), state)
    state = search.step(encoded[:, 10:20], torch.tensor([10, 0]), state)
    late = torch.cat([encoded[:1, 20:], encoded[1:, 10:20]])
    state = search.step(late, torch.tensor([10, 10]), state)
    assert_same(search.hypotheses(state), search.decode(encoded, torch.tensor([30, 20])))


def test_streams_can_join_and_leave(search: Search) -> None:
    """The first of three streams leaves early, the last one comes when the second is old."""
    encoded = frames(3, 24)
    wanted = search.decode(encoded, torch.full((3,), 24))[1:]
    found = [Hypothesis(), Hypothesis()]

    def go_on(state: Any, streams: list[int]) -> Any:
        taken, state = search.take(state)
        append([found[i] for i in streams], taken)
        return state

    both = search.step(encoded[:2, :16], torch.tensor([16, 16]), search.initial_state(2))
    second = go_on(both.select([1]), [0])
    third = search.step(encoded[2:, :4], torch.tensor([4]), search.initial_state(1))
    joined = type(both).cat([second, go_on(third, [1])])
    rest = torch.cat([encoded[1:2, 16:], encoded[2:, 4:12]])
    state = go_on(search.step(rest, torch.tensor([8, 8]), joined), [0, 1])
    append(found[:1], search.hypotheses(state)[:1])
    last = search.step(encoded[2:, 12:], torch.tensor([12]), state.select([1]))
    append(found[1:], search.hypotheses(last))
    assert_same(found, wanted)


def test_a_step_and_taking_leave_the_old_state_as_it_was(search: Search) -> None:
    encoded = frames(1, 20)
    state = search.step(encoded[:, :10], torch.tensor([10]), search.initial_state(1))
    before = copy.deepcopy(state)
    search.take(search.step(encoded[:, 10:], torch.tensor([10]), state))
    search.take(state)
    for a, b in zip(tensors(state), tensors(before), strict=True):
        assert torch.equal(a, b)


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors of a state and of the states in it."""
    for value in vars(state).values():
        if isinstance(value, Tensor):
            yield value
        else:
            yield from tensors(value)
