"""Rescoring chooses what the formula says, in a stream as in the whole."""

from __future__ import annotations

import math

import pytest
import torch
from search.searches import rescoring
from search.talkative_heads import (
    D,
    assert_same,
    frames,
    in_steps,
)
from torch import Tensor

from zipformer.search.attention_rescoring import AttentionRescoring
from zipformer.search.protocol import Hypothesis

FIRST = ["ctc", "transducer"]


@torch.no_grad()
def plainly(search: AttentionRescoring, encoded: Tensor) -> Hypothesis:
    """One utterance (T, D): every hypothesis scored by itself, token by token."""
    first, length = search.search, torch.tensor([len(encoded)])
    state = first.step(encoded[None], length, first.initial_state(1))
    best, chosen = -math.inf, Hypothesis()
    for candidate in first.n_best(state)[0]:
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
    search, changed = rescoring(first, weight), 0
    encoded, lengths = frames(12, 12), torch.tensor([12, 9, 7, 1, 0, *[12] * 7])
    found = search.decode(encoded, lengths)
    assert_same(found, [plainly(search, e[:n]) for e, n in zip(encoded, lengths, strict=True)])
    for i, n in enumerate(lengths.tolist()):
        alone = search.search.step(
            encoded[i : i + 1], torch.tensor([n]), search.search.initial_state(1)
        )
        candidates = search.search.n_best(alone)[0]
        leader = max(candidates, key=lambda candidate: candidate.score)
        changed += found[i].tokens != leader.hypothesis.tokens
    assert (changed == 0) if weight == 0.0 else (changed > 0)


@pytest.mark.parametrize("first", FIRST)
def test_a_stream_keeps_all_its_frames(first: str) -> None:
    search, encoded, lengths = rescoring(first, 0.7), frames(3, 14), torch.tensor([14, 7, 11])
    _, state = in_steps(search, encoded, lengths, [3, 0, 9, 2])
    assert state.lengths.tolist() == lengths.tolist()
    for heard, utterance, n in zip(state.encoder_out, encoded, lengths, strict=True):
        assert torch.equal(heard[:n], utterance[:n]) and not heard[n:].any()


@pytest.mark.parametrize("first", FIRST)
def test_taken_tokens_count_in_the_score_of_the_rest(first: str) -> None:
    search, encoded, lengths = rescoring(first, 0.7), frames(4, 60), torch.full((4,), 60)
    whole, state = in_steps(search, encoded, lengths, [10] * 6)
    assert (state.taken >= 0).sum() > 10
    assert_same(whole, search.decode(encoded, lengths))


def test_a_stream_takes_along_its_own_frames_and_no_more() -> None:
    search, encoded = rescoring(), frames(2, 24)
    state = search.step(encoded, torch.tensor([24, 5]), search.initial_state(2))
    assert state.select([1]).encoder_out.shape == (1, 5, D)
    assert torch.equal(state.select([1]).encoder_out, encoded[1:, :5])
    assert state.select([]).encoder_out.shape == (0, 0, D)


def test_many_hypotheses_are_scored_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    search, encoded = rescoring(), frames(4, 20)
    whole = search.decode(encoded, torch.full((4,), 20))
    monkeypatch.setattr("zipformer.search.attention_rescoring.AT_ONCE", 3)
    assert_same(search.decode(encoded, torch.full((4,), 20)), whole)


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"weight {weight:g} .* must be 0 to 1"):
        rescoring(weight=weight)
