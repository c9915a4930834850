"""Rescoring chooses what the formula says, in a stream as in the whole."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from decoding.talkative_heads import (
    UNK,
    D,
    V,
    append,
    assert_same,
    frames,
    in_steps,
    talkative_heads,
    talkative_output,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zipformer.decoding.attention_rescoring import AttentionRescoring, RescoringState
from zipformer.decoding.beam_search import ModifiedBeamSearch
from zipformer.decoding.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.decoding.protocol import BeamDecoder, Hypothesis
from zipformer.heads.attention_decoder import AttentionDecoder

FIRST = ["ctc", "transducer"]


def attention_decoder(seed: int = 0) -> AttentionDecoder:
    """One that is sure enough to overrule the first search, now and then."""
    generator = torch.Generator().manual_seed(seed)
    decoder = AttentionDecoder(V, D, num_layers=2, dim=8, num_heads=2, feedforward_dim=12)
    with torch.no_grad():
        for p in decoder.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return decoder.eval()


def talkative_search(first: str = "ctc", weight: float = 0.5, beam: int = 4) -> AttentionRescoring:
    search: BeamDecoder[Any]
    if first == "ctc":
        search = CtcPrefixBeamSearch(talkative_output(calm=3.0), unk_id=UNK, beam=beam)
    else:
        predictor, joiner = talkative_heads()
        with torch.no_grad():
            joiner.output_linear.weight.div_(4.0)
        search = ModifiedBeamSearch(predictor, joiner, unk_id=UNK, beam=beam)
    return AttentionRescoring(search, attention_decoder(), weight)


@torch.no_grad()
def plainly(search: AttentionRescoring, encoded: Tensor) -> Hypothesis:
    """One utterance (T, D): every hypothesis scored by itself, token by token."""
    first, length = search.search, torch.tensor([len(encoded)])
    state = first.step(encoded[None], length, first.initial_state(1))
    best, chosen = -math.inf, Hypothesis()
    for candidate in first.candidates(state)[0]:
        tokens, attention = candidate.hypothesis.tokens, 0.0
        for i, token in enumerate([*tokens, 1]):
            before = torch.tensor([tokens[:i]], dtype=torch.int64)
            logits = search.decoder(before, encoded[None], length)[0, -1]
            attention += float(logits.log_softmax(-1)[token])
        score = (1 - search.weight) * candidate.score + search.weight * attention
        if score > best:
            best, chosen = score, candidate.hypothesis
    return chosen


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
def test_the_hypothesis_of_the_greatest_weighted_score_wins(first: str, weight: float) -> None:
    search, changed = talkative_search(first, weight), 0
    encoded, lengths = frames(12, 12), torch.tensor([12, 9, 7, 1, 0, *[12] * 7])
    found = search.decode(encoded, lengths)
    assert_same(found, [plainly(search, e[:n]) for e, n in zip(encoded, lengths, strict=True)])
    for i, n in enumerate(lengths.tolist()):
        alone = search.search.step(
            encoded[i : i + 1], torch.tensor([n]), search.search.initial_state(1)
        )
        candidates = search.search.candidates(alone)[0]
        leader = max(candidates, key=lambda candidate: candidate.score)
        changed += found[i].tokens != leader.hypothesis.tokens
    assert (changed == 0) if weight == 0.0 else (changed > 0)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.integers(0, 1000),
    st.sampled_from(FIRST),
)
def test_what_is_taken_and_the_rest_are_the_whole_for_any_cutting_into_steps(
    sizes: list[int], seed: int, first: str
) -> None:
    search, total = talkative_search(first, 0.7), sum(sizes)
    encoded = frames(3, total, seed=seed)
    lengths = torch.tensor([total, total // 2, max(total - 3, 0)])
    whole, state = in_steps(search, encoded, lengths, sizes)
    assert state.lengths.tolist() == lengths.tolist()
    for heard, utterance, n in zip(state.encoder_out, encoded, lengths, strict=True):
        assert torch.equal(heard[:n], utterance[:n]) and not heard[n:].any()
    assert_same(whole, search.decode(encoded, lengths))


@pytest.mark.parametrize("first", FIRST)
def test_taken_tokens_count_in_the_score_of_the_rest(first: str) -> None:
    search, encoded, lengths = talkative_search(first, 0.7), frames(4, 60), torch.full((4,), 60)
    whole, state = in_steps(search, encoded, lengths, [10] * 6)
    assert (state.taken >= 0).sum() > 10
    assert_same(whole, search.decode(encoded, lengths))


def test_batch_mates_and_what_lies_behind_the_end_change_nothing() -> None:
    search, encoded = talkative_search(), frames(4, 25)
    lengths = torch.tensor([25, 7, 20, 1])
    alone = [
        search.decode(encoded[i : i + 1, :n], lengths[i : i + 1])[0] for i, n in enumerate(lengths)
    ]
    for i, n in enumerate(lengths):
        encoded[i, n:] = torch.nan
    assert_same(search.decode(encoded, lengths), alone)
    order = [2, 0, 3, 1]
    assert_same(search.decode(encoded[order], lengths[order]), [alone[i] for i in order])


@pytest.mark.parametrize("first", FIRST)
def test_streams_can_join_and_leave(first: str) -> None:
    search, encoded = talkative_search(first), frames(3, 24)
    wanted = search.decode(encoded, torch.full((3,), 24))
    found = [Hypothesis(), Hypothesis()]

    def go_on(state: RescoringState, streams: list[int]) -> RescoringState:
        taken, state = search.take(state)
        append([found[i] for i in streams], taken)
        return state

    early = search.step(encoded[:2, :16], torch.tensor([16, 16]), search.initial_state(2))
    early = go_on(early.select([1]), [0])
    late = search.step(encoded[2:, :4], torch.tensor([4]), search.initial_state(1))
    joined = RescoringState.cat([early, go_on(late, [1])])
    rest = torch.cat([encoded[1:2, 16:], encoded[2:, 4:12]])
    state = go_on(search.step(rest, torch.tensor([8, 8]), joined), [0, 1])
    append(found[:1], search.hypotheses(state)[:1])
    last = search.step(encoded[2:, 12:], torch.tensor([12]), state.select([1]))
    append(found[1:], search.hypotheses(last))
    assert_same(found, wanted[1:])


def test_a_stream_takes_along_its_own_frames_and_no_more() -> None:
    search, encoded = talkative_search(), frames(2, 24)
    state = search.step(encoded, torch.tensor([24, 5]), search.initial_state(2))
    assert state.select([1]).encoder_out.shape == (1, 5, D)
    assert torch.equal(state.select([1]).encoder_out, encoded[1:, :5])
    assert state.select([]).encoder_out.shape == (0, 0, D)


def test_a_step_and_taking_leave_the_old_state_as_it_was() -> None:
    search, encoded = talkative_search(), frames(1, 20)
    state = search.step(encoded[:, :10], torch.tensor([10]), search.initial_state(1))
    before = search.hypotheses(state)
    search.take(search.step(encoded[:, 10:], torch.tensor([10]), state))
    search.take(state)
    assert search.hypotheses(state) == before


def test_many_hypotheses_are_scored_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    search, encoded = talkative_search(), frames(4, 20)
    whole = search.decode(encoded, torch.full((4,), 20))
    monkeypatch.setattr("zipformer.decoding.attention_rescoring.AT_ONCE", 3)
    assert_same(search.decode(encoded, torch.full((4,), 20)), whole)


def test_a_batch_of_no_streams_is_none() -> None:
    search = talkative_search()
    none = torch.zeros(0, dtype=torch.int64)
    assert search.decode(torch.zeros(0, 5, D), none) == []
    assert search.take(search.initial_state(0))[0] == []


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"weight {weight:g} .* must be 0 to 1"):
        talkative_search(weight=weight)
