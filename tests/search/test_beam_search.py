"""Modified beam search gives what a plain one gives, however frames are cut and batched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from biasing.plain_bonus import earned, plain_bonus
from search.searches import PHRASES, SOME, modified_beam
from search.talkative_heads import (
    UNK,
    V,
    append,
    assert_same,
    frames,
)
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trained_digits import read_strings, trained

from zipformer.biasing import Hotwords
from zipformer.data.features import extract
from zipformer.evaluation.scoring import Utterance, total_errors
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.greedy_search import GreedySearch
from zipformer.search.protocol import Hypothesis, Searcher

Phrases = Sequence[tuple[tuple[int, ...], float]]


@torch.no_grad()
def plain_search(search: ModifiedBeamSearch, encoded: Tensor, phrases: Phrases = ()) -> Hypothesis:
    """One utterance (T, D), written out plainly: tokens -> score, and how they came about."""
    hypotheses: dict[tuple[int, ...], tuple[float, Hypothesis]] = {(): (0.0, Hypothesis())}
    silent = (0, search.unk_id)
    for t, frame in enumerate(encoded):
        extended = []
        for tokens, (score, how) in hypotheses.items():
            predicted = search.predictor(torch.tensor([[-1, 0, *tokens][-2:]]), pad=False)[0, 0]
            log_probs = search.joiner(frame, predicted).log_softmax(-1)
            for token, log_prob in enumerate(log_probs.tolist()):
                said = tokens if token in silent else (*tokens, token)
                rank = score + log_prob + plain_bonus(phrases, said)
                extended.append((rank, score + log_prob, how, token, log_prob))
        hypotheses = {}
        best = sorted(extended, key=lambda e: -e[0])[: search.beam]
        for _, score, how, token, log_prob in best:
            if token not in silent:
                how = Hypothesis([*how.tokens, token], [*how.frames, t], [*how.log_probs, log_prob])
            tokens = tuple(how.tokens)
            if tokens in hypotheses:
                other, how = hypotheses[tokens]
                score = max(score, other) + math.log1p(math.exp(-abs(score - other)))
            hypotheses[tokens] = score, how
        first = next(iter(hypotheses.values()))[1]
        hypotheses = {
            tokens: (score, how)
            for tokens, (score, how) in hypotheses.items()
            if t - first_difference(how, first, t) < search.horizon
        }
    worth = {t: (s + earned(phrases, t)) / (len(t) + 2) for t, (s, _) in hypotheses.items()}
    return hypotheses[max(worth, key=worth.__getitem__)][1]


def first_difference(a: Hypothesis, b: Hypothesis, now: int) -> int:
    """The frame from which on two hypotheses differ; ``now`` if they do not."""
    events = set(zip(a.tokens, a.frames, strict=True)) ^ set(zip(b.tokens, b.frames, strict=True))
    return min((frame for _, frame in events), default=now)


@pytest.mark.parametrize("horizon", [1000, 5, 1])
@pytest.mark.parametrize("beam", [1, 2, 4, V + 2])
@pytest.mark.parametrize("calm", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("phrases", [None, SOME], ids=["alone", "with phrases"])
def test_it_finds_what_a_plain_search_finds(
    phrases: Hotwords | None, calm: float, beam: int, horizon: int
) -> None:
    spoken = 0
    for seed in range(2):
        search = modified_beam(beam, seed=seed, calm=calm, horizon=horizon, phrases=phrases)
        preferred = PHRASES if phrases else ()
        encoded, lengths = frames(3, 24, seed=seed), torch.tensor([24, 17, 0])
        found = search.decode(encoded, lengths)
        assert found[2] == Hypothesis()
        plain = [
            plain_search(search, e[:n], preferred) for e, n in zip(encoded, lengths, strict=True)
        ]
        assert_same(found, plain)
        spoken += len(found[0].tokens) + len(found[1].tokens)
    assert spoken > 10


def test_the_beam_finds_what_greedy_search_misses() -> None:
    encoded, lengths = frames(6, 40), torch.full((6,), 40)
    search = modified_beam()
    greedy = GreedySearch(search.predictor, search.joiner, unk_id=UNK).decode(encoded, lengths)
    assert [h.tokens for h in search.decode(encoded, lengths)] != [h.tokens for h in greedy]


def test_the_state_of_a_long_stream_holds_no_more_than_the_horizon() -> None:
    search, total = modified_beam(calm=2.0, horizon=50), 2000
    encoded, lengths = frames(2, total), torch.tensor([total, total - 13])
    state, whole, largest = search.initial_state(2), [Hypothesis(), Hypothesis()], 0
    for start in range(0, total, 20):
        valid = (lengths - start).clamp(0, 20)
        state = search.step(encoded[:, start : start + 20], valid, state)
        taken, state = search.take(state)
        append(whole, taken)
        largest = max(largest, state.emitted.shape[2])
    assert len(whole[0].tokens) > 500 and 20 < largest <= 50
    append(whole, search.hypotheses(state))
    assert_same(whole, search.decode(encoded, lengths))


def test_the_score_of_many_hours_does_not_blur_the_next_frames() -> None:
    search, encoded = modified_beam(calm=2.0), frames(1, 30)
    early = search.initial_state(1)
    late = replace(early, scores=early.scores - 1e7)
    early, late = (search.step(encoded, torch.tensor([30]), state) for state in (early, late))
    assert torch.equal(early.emitted, late.emitted) and torch.equal(early.frames, late.frames)


def test_silence_adds_nothing_to_the_state() -> None:
    search, encoded = modified_beam(calm=4.0), frames(1, 300)
    state = search.step(encoded[:, :3], torch.tensor([3]), search.initial_state(1))
    with torch.no_grad():
        search.joiner.output_linear.bias[0] += 50.0
    silent = search.step(encoded[:, 3:], torch.tensor([297]), state)
    assert silent.emitted.shape == state.emitted.shape != (1, 4, 0)


def test_nothing_is_taken_while_hypotheses_differ() -> None:
    search, encoded = modified_beam(calm=4.0), frames(1, 1)
    state = search.step(encoded, torch.tensor([1]), search.initial_state(1))
    taken, rest = search.take(state)
    assert taken == [Hypothesis()]
    assert search.hypotheses(rest) == search.hypotheses(state)


def test_unk_is_never_emitted_and_does_not_enter_the_history() -> None:
    encoded, lengths = frames(4, 60), torch.full((4,), 60)
    with_unk = [t for h in modified_beam(unk_id=None).decode(encoded, lengths) for t in h.tokens]
    without = [t for h in modified_beam().decode(encoded, lengths) for t in h.tokens]
    assert UNK in with_unk
    assert UNK not in without and 0 not in without


def test_a_beam_without_hypotheses_is_refused() -> None:
    with pytest.raises(ValueError, match="beam 0 and horizon 1000 must be at least 1"):
        modified_beam(beam=0)


@torch.no_grad()
def test_it_hears_spoken_digits_as_well_as_greedy_search(digit_strings: Path) -> None:
    loaded, cuts = trained(), read_strings(digit_strings)
    features = [extract(cut.load_audio()) for cut in cuts]
    lengths = torch.tensor([len(f) for f in features])
    encoded, lengths = loaded.model.encoder(pad_sequence(features, batch_first=True), lengths)

    def wer(search: Searcher) -> float:
        found = search.decode(encoded, lengths)
        heard = [loaded.tokenizer.decode(h.tokens) for h in found]
        said = [cut.supervisions[0].text for cut in cuts]
        return total_errors(map(Utterance.of_texts, map(str, cuts), said, heard)).wer

    heads = (loaded.model.predictor, loaded.model.joiner)
    beam = wer(ModifiedBeamSearch(*heads, unk_id=loaded.tokenizer.unk_id))
    greedy = wer(GreedySearch(*heads, unk_id=loaded.tokenizer.unk_id))
    assert beam <= greedy + 2.0 and greedy < 20.0
