"""Greedy CTC search collapses what it hears, however frames are cut into steps and batches."""

from __future__ import annotations

from itertools import groupby

import torch
from decoding.talkative_heads import UNK, D, V, assert_same, frames, in_steps, talkative_output
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import ROUNDING

from zipformer.decoding.ctc_search import CtcGreedySearch, CtcGreedyState


def talkative_search(unk_id: int | None = UNK) -> CtcGreedySearch:
    return CtcGreedySearch(talkative_output(), unk_id=unk_id)


@torch.no_grad()
def test_runs_of_the_best_tokens_become_one_and_blanks_none() -> None:
    search, encoded = talkative_search(), frames(3, 40)
    lengths = torch.tensor([40, 23, 0])
    found, repeated = search.decode(encoded, lengths), 0
    for hypothesis, utterance, length in zip(found, encoded, lengths.tolist(), strict=True):
        log_probs, best = search.output(utterance[:length]).max(dim=1)
        runs = [(token, next(run)[0]) for token, run in groupby(enumerate(best.tolist()), _token)]
        spoken = [(token, t) for token, t in runs if token not in (0, UNK)]
        assert hypothesis.tokens == [token for token, _ in spoken]
        assert hypothesis.frames == [t for _, t in spoken]
        wanted = [float(log_probs[t]) for _, t in spoken]
        torch.testing.assert_close(hypothesis.log_probs, wanted, atol=ROUNDING, rtol=ROUNDING)
        repeated += length - len(runs)
    assert len(found[0].tokens) > 5 and repeated > 3


def _token(place: tuple[int, int]) -> int:
    return place[1]


def one_hot(tokens: list[int]) -> torch.Tensor:
    """Frames (1, T, V) in which a head without weights of its own hears these tokens."""
    return 9.0 * torch.nn.functional.one_hot(torch.tensor([tokens]), V).float()


class Identity(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.log_softmax(dim=-1)


def test_a_run_goes_on_over_steps_and_blank_or_unk_divides_it() -> None:
    search = CtcGreedySearch(Identity(), unk_id=UNK)
    heard = one_hot([3, 3, 3, 0, 3, UNK, 3, 4])
    for sizes in ([8], [1] * 8, [2, 3, 0, 3], [4, 4]):
        (found,), _ = in_steps(search, heard, torch.tensor([8]), sizes)
        assert (found.tokens, found.frames) == ([3, 3, 3, 4], [0, 4, 6, 7])


def test_a_stream_that_waits_while_others_go_on_keeps_its_run_and_its_times() -> None:
    search = CtcGreedySearch(Identity(), unk_id=UNK)
    state = search.step(one_hot([3, 3, 4, 4]), torch.tensor([2]), search.initial_state(1))
    state = search.step(one_hot([5, 5]), torch.tensor([0]), state)
    state = search.step(one_hot([3, 5]), torch.tensor([2]), state)
    (found,) = search.hypotheses(state)
    assert (found.tokens, found.frames) == ([3, 5], [0, 3])


@settings(max_examples=12)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 1000))
def test_any_cutting_into_steps_gives_the_same_as_the_whole(sizes: list[int], seed: int) -> None:
    search, total = talkative_search(), sum(sizes)
    encoded, lengths = frames(2, total, seed=seed), torch.tensor([total, total // 2])
    found, state = in_steps(search, encoded, lengths, sizes)
    assert state.processed.tolist() == lengths.tolist()
    assert_same(found, search.decode(encoded, lengths))


def test_batch_mates_and_what_lies_behind_the_end_change_nothing() -> None:
    search, encoded = talkative_search(), frames(4, 33)
    lengths = torch.tensor([33, 7, 20, 1])
    alone = [
        search.decode(encoded[i : i + 1, :n], lengths[i : i + 1])[0] for i, n in enumerate(lengths)
    ]
    for i, n in enumerate(lengths):
        encoded[i, n:] = torch.nan
    assert_same(search.decode(encoded, lengths), alone)
    order = [2, 0, 3, 1]
    assert_same(search.decode(encoded[order], lengths[order]), [alone[i] for i in order])


def test_streams_can_join_and_leave() -> None:
    search, encoded = talkative_search(), frames(3, 24)
    whole = search.decode(encoded, torch.full((3,), 24))
    early = search.step(encoded[:2, :16], torch.tensor([16, 16]), search.initial_state(2))
    late = search.step(encoded[2:, :4], torch.tensor([4]), search.initial_state(1))
    joined = CtcGreedyState.cat([early.select([1]), late])
    rest = torch.cat([encoded[1:2, 16:], encoded[2:, 4:12]])
    state = search.step(rest, torch.tensor([8, 8]), joined)
    assert_same(search.hypotheses(state)[:1], whole[1:2])
    state = search.step(encoded[2:, 12:], torch.tensor([12]), state.select([1]))
    assert_same(search.hypotheses(state), whole[2:])


def test_a_batch_of_no_streams_and_a_step_of_no_frames_are_nothing() -> None:
    search = talkative_search()
    assert search.decode(torch.zeros(0, 5, D), torch.zeros(0, dtype=torch.int64)) == []
    assert search.decode(torch.zeros(1, 0, D), torch.zeros(1, dtype=torch.int64))[0].tokens == []
