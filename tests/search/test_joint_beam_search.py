"""Joint beam search goes by what each head alone makes of a transcript."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby, product

import pytest
import torch
from search.searches import joint_beam, modified_beam
from search.talkative_heads import UNK, frames
from torch import Tensor

from zipformer.search.joint_beam_search import NOT_YET, JointBeamSearch

ALL = 400  # more hypotheses than the tiny cases have
Sums = dict[tuple[int, ...], float]


def tiny(weight: float, unk_id: int | None = None) -> JointBeamSearch:
    """Four tokens, so that every alignment can be tried."""
    search = joint_beam(ALL, unk_id, weight=weight, calm=2.0)
    with torch.no_grad():
        for layer in (search.joiner.output_linear, search.output[0]):
            layer.weight, layer.bias = (
                torch.nn.Parameter(p[:4].clone()) for p in (layer.weight, layer.bias)
            )
    return search


@torch.no_grad()
def of_the_transducer(search: JointBeamSearch, encoded: Tensor) -> Sums:
    """Transcript -> the log-probability of its alignments, at most one token a frame."""
    sums: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for path in product(range(4), repeat=len(encoded)):
        score, said = 0.0, []
        for t, token in enumerate(path):
            predicted = search.predictor(torch.tensor([[-1, 0, *said][-2:]]), pad=False)[0, 0]
            score += float(search.joiner(encoded[t], predicted).log_softmax(-1)[token])
            said += [token] if token not in (0, search.unk_id) else []
        sums[tuple(said)].append(score)
    return {tokens: summed(scores) for tokens, scores in sums.items()}


@torch.no_grad()
def of_ctc(search: JointBeamSearch, encoded: Tensor) -> Sums:
    """Transcript -> the log-probability of its alignments; an unknown token is a blank."""
    sums: dict[tuple[int, ...], list[float]] = defaultdict(list)
    log_probs = search.output(encoded)
    for path in product(range(4), repeat=len(encoded)):
        score = sum(float(log_probs[t, v]) for t, v in enumerate(path))
        runs = [v for v, _ in groupby(0 if v == search.unk_id else v for v in path)]
        sums[tuple(v for v in runs if v != 0)].append(score)
    return {tokens: summed(scores) for tokens, scores in sums.items()}


def summed(scores: list[float]) -> float:
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0))


@pytest.mark.parametrize("unk_id", [None, UNK])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_beam_that_holds_every_transcript_weighs_what_each_head_makes_of_it(
    weight: float, unk_id: int | None
) -> None:
    search = tiny(weight, unk_id)
    for seed in range(2):
        encoded = frames(1, 4, seed=seed)
        transducer, ctc = of_the_transducer(search, encoded[0]), of_ctc(search, encoded[0])
        state = search.step(encoded, torch.tensor([4]), search.initial_state(1))
        entries = search.n_best(state)[0]
        found = {tuple(entry.hypothesis.tokens): entry.score for entry in entries}
        assert len(found) == len(entries)
        for tokens, score in found.items():
            one, other = transducer[tokens], ctc.get(tokens, transducer[tokens] - NOT_YET)
            assert score == pytest.approx((1 - weight) * one + weight * other, abs=1e-5)
        assert found.keys() == transducer.keys() > ctc.keys()


@pytest.mark.parametrize("horizon", [1000, 3])
def test_without_weight_it_is_modified_beam_search(horizon: int) -> None:
    encoded, lengths = frames(4, 30), torch.tensor([30, 21, 1, 0])
    joint = joint_beam(4, None, weight=0.0, calm=2.0, horizon=horizon).decode(encoded, lengths)
    assert joint == modified_beam(4, None, calm=2.0, horizon=horizon).decode(encoded, lengths)


def test_the_other_head_changes_what_is_heard_but_not_where_words_stand() -> None:
    encoded, lengths = frames(6, 40), torch.full((6,), 40)
    alone = joint_beam(weight=0.0).decode(encoded, lengths)
    together = joint_beam(weight=0.5).decode(encoded, lengths)
    assert [h.tokens for h in alone] != [h.tokens for h in together]
    search = joint_beam(weight=0.5)
    with torch.no_grad():
        for h, frame in zip(together, encoded, strict=True):
            history = [-1, 0, *h.tokens]
            for i, (token, t, log_prob) in enumerate(
                zip(h.tokens, h.frames, h.log_probs, strict=True)
            ):
                predicted = search.predictor(torch.tensor([history[i : i + 2]]), pad=False)[0, 0]
                said = search.joiner(frame[t], predicted).softmax(-1)
                said[0] += said[UNK]
                assert math.exp(log_prob) == pytest.approx(float(said[token]), abs=1e-5)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_outside_0_to_1_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"CTC head's weight {weight} must be between 0 and 1"):
        joint_beam(weight=weight)
