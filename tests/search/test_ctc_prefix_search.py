"""Prefix beam search sums over alignments, however frames are cut and batched."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, product

import pytest
import torch
from biasing.plain_bonus import earned, plain_bonus
from search.searches import PHRASES, SOME, ctc_prefix_beam
from search.talkative_heads import (
    UNK,
    V,
    append,
    assert_same,
    frames,
)
from torch import Tensor

from zipformer.biasing import Hotwords
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.search.ctc_search import CtcGreedySearch
from zipformer.search.protocol import Hypothesis

ALL = 400  # more prefixes than the tiny cases have
Phrases = Sequence[tuple[tuple[int, ...], float]]


@torch.no_grad()
def log_probs_of(search: CtcPrefixBeamSearch, encoded: Tensor) -> Tensor:
    """(T, V) in float64, what the head says with <unk> added to the blank."""
    log_probs = search.output(encoded).double()
    if search.unk_id != search.blank_id:
        log_probs[:, 0] = torch.logaddexp(log_probs[:, 0], log_probs[:, search.unk_id])
        log_probs[:, search.unk_id] = -torch.inf
    return log_probs


def every_alignment(log_probs: Tensor) -> dict[tuple[int, ...], list[tuple[float, list[int]]]]:
    """Transcript -> its alignments: log-probability, and the frames where tokens begin."""
    found: dict[tuple[int, ...], list[tuple[float, list[int]]]] = defaultdict(list)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(float(log_probs[t, v]) for t, v in enumerate(path))
        runs = [(v, next(run)[0]) for v, run in groupby(enumerate(path), lambda place: place[1])]
        spoken = [(v, t) for v, t in runs if v != 0]
        found[tuple(v for v, _ in spoken)].append((score, [t for _, t in spoken]))
    return found


@pytest.mark.parametrize("calm", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("unk_id", [None, UNK])
def test_a_beam_that_holds_every_prefix_sums_over_all_alignments(
    calm: float, unk_id: int | None
) -> None:
    search = ctc_prefix_beam(ALL, unk_id, calm=calm)
    search.output[0] = smaller(search.output[0], 4)
    for seed in range(3):
        encoded = frames(1, 5, seed=seed)
        brute = every_alignment(log_probs_of(search, encoded[0]))
        sums = {y: summed([s for s, _ in paths]) for y, paths in brute.items()}
        state = search.step(encoded, torch.tensor([5]), search.initial_state(1))
        candidates = search.n_best(state)[0]
        scores = {tuple(c.hypothesis.tokens): c.score for c in candidates}
        assert len(scores) == len(candidates)
        possible = {y: s for y, s in sums.items() if s > -torch.inf}
        assert scores.keys() == possible.keys()
        for tokens, score in scores.items():
            assert score == pytest.approx(possible[tokens], abs=1e-9)
        assert search.hypotheses(state)[0].tokens == list(max(possible, key=possible.__getitem__))
        for candidate in candidates:  # tokens stand where the best alignment has them
            best = max(brute[tuple(candidate.hypothesis.tokens)])
            assert candidate.hypothesis.frames == best[1]


def summed(scores: list[float]) -> float:
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0))


def smaller(layer: torch.nn.Linear, size: int) -> torch.nn.Linear:
    """The first outputs of a layer: an alphabet small enough to try everything."""
    cut = torch.nn.Linear(layer.in_features, size)
    with torch.no_grad():
        cut.weight.copy_(layer.weight[:size])
        cut.bias.copy_(layer.bias[:size])
    return cut


def plain_search(
    search: CtcPrefixBeamSearch, encoded: Tensor, phrases: Phrases = ()
) -> tuple[tuple[int, ...], float]:
    """One utterance (T, D), written out plainly: prefix -> (ends in blank, ends in token)."""
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for frame in log_probs_of(search, encoded).tolist():
        grown: dict[tuple[int, ...], tuple[float, float]] = defaultdict(lambda: (-math.inf,) * 2)

        def add(prefix: tuple[int, ...], blank: float, token: float, grown: dict = grown) -> None:
            grown[prefix] = plus(grown[prefix][0], blank), plus(grown[prefix][1], token)

        for prefix, (blank, token) in beam.items():
            either = plus(blank, token)
            add(prefix, either + frame[0], token + frame[prefix[-1]] if prefix else -math.inf)
            for v in range(1, V):
                again = prefix[-1:] == (v,)
                add((*prefix, v), -math.inf, (blank if again else either) + frame[v])
        best = sorted(grown.items(), key=lambda i: -plus(*i[1]) - plain_bonus(phrases, i[0]))
        beam = {y: ends for y, ends in best[: search.beam] if plus(*ends) > -math.inf}
    worth = {tokens: plus(*ends) + earned(phrases, tokens) for tokens, ends in beam.items()}
    best = max(worth, key=worth.__getitem__)
    return best, plus(*beam[best])


def plus(a: float, b: float) -> float:
    high = max(a, b)
    return high if high == -math.inf else high + math.log(math.exp(a - high) + math.exp(b - high))


@pytest.mark.parametrize("beam", [1, 2, 4, V + 2])
@pytest.mark.parametrize("calm", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("hotwords", [None, SOME], ids=["alone", "with phrases"])
def test_it_finds_what_a_plain_search_finds(
    hotwords: Hotwords | None, calm: float, beam: int
) -> None:
    spoken = 0
    for seed in range(2):
        search = ctc_prefix_beam(beam, seed=seed, calm=calm, phrases=hotwords)
        phrases = PHRASES if hotwords else ()
        encoded, lengths = frames(3, 24, seed=seed), torch.tensor([24, 17, 0])
        state = search.step(encoded, lengths, search.initial_state(3))
        found = search.hypotheses(state)
        best = (state.totals + state.earned).argmax(dim=1, keepdim=True)
        scores = state.totals.gather(1, best)[:, 0].tolist()
        assert found[2] == Hypothesis()
        for i in range(3):
            tokens, score = plain_search(search, encoded[i, : lengths[i]], phrases)
            assert tuple(found[i].tokens) == tokens
            assert scores[i] == pytest.approx(score, abs=1e-9)
        spoken += len(found[0].tokens) + len(found[1].tokens)
    assert spoken > 10


def test_the_sum_over_alignments_finds_what_the_best_path_misses() -> None:
    encoded, lengths = frames(6, 40), torch.full((6,), 40)
    search = ctc_prefix_beam()
    greedy = CtcGreedySearch(search.output, unk_id=UNK).decode(encoded, lengths)
    assert [h.tokens for h in search.decode(encoded, lengths)] != [h.tokens for h in greedy]


@torch.no_grad()
def test_log_probs_are_those_of_the_tokens_at_their_frames() -> None:
    search, encoded = ctc_prefix_beam(), frames(1, 30)
    (found,) = search.decode(encoded, torch.tensor([30]))
    log_probs = search.output(encoded[0])
    wanted = [float(log_probs[t, v]) for v, t in zip(found.tokens, found.frames, strict=True)]
    assert found.log_probs == pytest.approx(wanted) and len(wanted) > 5
    assert found.frames == sorted(set(found.frames))


def test_the_state_of_a_long_stream_holds_no_more_than_the_horizon() -> None:
    search, total = ctc_prefix_beam(calm=4.0, horizon=50), 1000
    encoded, lengths = frames(2, total), torch.tensor([total, total - 13])
    state, whole, largest = search.initial_state(2), [Hypothesis(), Hypothesis()], 0
    for start in range(0, total, 20):
        valid = (lengths - start).clamp(0, 20)
        state = search.step(encoded[:, start : start + 20], valid, state)
        taken, state = search.take(state)
        append(whole, taken)
        largest = max(largest, state.emitted.shape[2])
    assert len(whole[0].tokens) > 200 and 10 < largest <= 50
    append(whole, search.hypotheses(state))
    assert_same(whole, search.decode(encoded, lengths))


def test_the_score_of_many_hours_does_not_blur_the_next_frames() -> None:
    search, encoded = ctc_prefix_beam(), frames(1, 30)
    early = search.initial_state(1)
    late = replace(early, scores=early.scores - 1e7, sums=early.sums - 1e7)
    early, late = (search.step(encoded, torch.tensor([30]), state) for state in (early, late))
    assert torch.equal(early.emitted, late.emitted) and torch.equal(early.frames, late.frames)


def test_a_beam_without_hypotheses_is_refused() -> None:
    with pytest.raises(ValueError, match="beam 0 and horizon 1000 must be at least 1"):
        ctc_prefix_beam(beam=0)
