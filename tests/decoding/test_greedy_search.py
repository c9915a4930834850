"""Greedy search gives one answer, however frames are cut into steps and batches."""

from __future__ import annotations

import torch
from decoding.talkative_heads import UNK, assert_same, frames, talkative_heads
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import ROUNDING
from torch import Tensor

from zipformer.decoding.greedy_search import GreedySearch, GreedyState


def talkative_search(unk_id: int | None = UNK, seed: int = 0) -> GreedySearch:
    return GreedySearch(*talkative_heads(seed), unk_id=unk_id)


@torch.no_grad()
def frame_by_frame(search: GreedySearch, encoded: Tensor) -> tuple[list[int], list[int], list]:
    """One utterance (T, D), written out plainly."""
    history, tokens, times, scores = [-1, 0], [], [], []
    for t, frame in enumerate(encoded):
        predicted = search.predictor(torch.tensor([history[-2:]]), pad=False)[0, 0]
        log_probs = search.joiner(frame, predicted).log_softmax(-1)
        best = int(log_probs.argmax())
        if best not in (0, search.unk_id):
            history.append(best)
            tokens.append(best)
            times.append(t)
            scores.append(float(log_probs[best]))
    return tokens, times, scores


def test_it_takes_the_best_token_of_every_frame_given_those_before() -> None:
    search, encoded = talkative_search(), frames(3, 40)
    lengths = torch.tensor([40, 23, 0])
    found = search.decode(encoded, lengths)
    assert len(found[0].tokens) > 5
    assert found[2].tokens == [] == found[2].frames == found[2].log_probs
    for hypothesis, utterance, length in zip(found, encoded, lengths.tolist(), strict=True):
        tokens, times, scores = frame_by_frame(search, utterance[:length])
        assert (hypothesis.tokens, hypothesis.frames) == (tokens, times)
        torch.testing.assert_close(hypothesis.log_probs, scores, atol=ROUNDING, rtol=ROUNDING)


@settings(max_examples=12)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 1000))
def test_any_cutting_into_steps_gives_the_same_as_the_whole(sizes: list[int], seed: int) -> None:
    search = talkative_search()
    total = sum(sizes)
    encoded = frames(2, total, seed=seed)
    lengths = torch.tensor([total, total // 2])
    state, start = search.initial_state(2), 0
    for size in sizes:
        valid = (lengths - start).clamp(0, size)
        state = search.step(encoded[:, start : start + size], valid, state)
        start += size
    assert state.processed.tolist() == lengths.tolist()
    assert_same(search.hypotheses(state), search.decode(encoded, lengths))


def test_a_stream_that_waits_while_others_go_on_keeps_its_times() -> None:
    search, encoded = talkative_search(), frames(2, 30)
    state = search.initial_state(2)
    state = search.step(encoded[:, :10], torch.tensor([10, 10]), state)
    state = search.step(encoded[:, 10:20], torch.tensor([10, 0]), state)
    late = torch.cat([encoded[:1, 20:], encoded[1:, 10:20]])
    state = search.step(late, torch.tensor([10, 10]), state)
    assert_same(search.hypotheses(state), search.decode(encoded, torch.tensor([30, 20])))


def test_batch_mates_and_what_lies_behind_the_end_change_nothing() -> None:
    search, encoded = talkative_search(), frames(4, 33)
    lengths = torch.tensor([33, 7, 20, 1])
    together = search.decode(encoded, lengths)
    alone = [
        search.decode(encoded[i : i + 1, :n], lengths[i : i + 1])[0] for i, n in enumerate(lengths)
    ]
    assert_same(together, alone)
    order = [2, 0, 3, 1]
    assert_same(search.decode(encoded[order], lengths[order]), [together[i] for i in order])


def test_streams_can_join_and_leave() -> None:
    search, encoded = talkative_search(), frames(3, 24)
    whole = search.decode(encoded, torch.full((3,), 24))
    early = search.step(encoded[:2, :16], torch.tensor([16, 16]), search.initial_state(2))
    late = search.step(encoded[2:, :4], torch.tensor([4]), search.initial_state(1))
    joined = GreedyState.cat([early.select([1]), late])
    rest = torch.cat([encoded[1:2, 16:], encoded[2:, 4:12]])
    state = search.step(rest, torch.tensor([8, 8]), joined)
    assert_same(search.hypotheses(state)[:1], whole[1:2])
    state = search.step(encoded[2:, 12:], torch.tensor([12]), state.select([1]))
    assert_same(search.hypotheses(state), whole[2:])


def test_a_step_leaves_the_old_state_as_it_was() -> None:
    search, encoded = talkative_search(), frames(1, 20)
    state = search.step(encoded[:, :10], torch.tensor([10]), search.initial_state(1))
    before = search.hypotheses(state)
    search.step(encoded[:, 10:], torch.tensor([10]), state)
    assert search.hypotheses(state) == before


def test_unk_is_never_emitted_and_does_not_enter_the_history() -> None:
    encoded, lengths = frames(4, 60), torch.full((4,), 60)
    with_unk = [t for h in talkative_search(None).decode(encoded, lengths) for t in h.tokens]
    without = [t for h in talkative_search(UNK).decode(encoded, lengths) for t in h.tokens]
    assert UNK in with_unk
    assert UNK not in without and 0 not in without
