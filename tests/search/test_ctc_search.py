"""Greedy CTC search collapses what it hears, however frames are cut into steps and batches."""

from __future__ import annotations

from itertools import groupby

import torch
from search.searches import ctc_greedy
from search.talkative_heads import UNK, V, frames, in_steps
from tolerances import ROUNDING

from zipformer.search.ctc_search import CtcGreedySearch


@torch.no_grad()
def test_runs_of_the_best_tokens_become_one_and_blanks_none() -> None:
    search, encoded = ctc_greedy(), frames(3, 40)
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
