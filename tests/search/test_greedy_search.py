"""Greedy search gives one answer, however frames are cut into steps and batches."""

from __future__ import annotations

import torch
from search.searches import greedy
from search.talkative_heads import UNK, frames
from tolerances import ROUNDING
from torch import Tensor

from zipformer.search.greedy_search import GreedySearch


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
    search, encoded = greedy(), frames(3, 40)
    lengths = torch.tensor([40, 23, 0])
    found = search.decode(encoded, lengths)
    assert len(found[0].tokens) > 5
    assert found[2].tokens == [] == found[2].frames == found[2].log_probs
    for hypothesis, utterance, length in zip(found, encoded, lengths.tolist(), strict=True):
        tokens, times, scores = frame_by_frame(search, utterance[:length])
        assert (hypothesis.tokens, hypothesis.frames) == (tokens, times)
        torch.testing.assert_close(hypothesis.log_probs, scores, atol=ROUNDING, rtol=ROUNDING)


def test_unk_is_never_emitted_and_does_not_enter_the_history() -> None:
    encoded, lengths = frames(4, 60), torch.full((4,), 60)
    with_unk = [t for h in greedy(None).decode(encoded, lengths) for t in h.tokens]
    without = [t for h in greedy(UNK).decode(encoded, lengths) for t in h.tokens]
    assert UNK in with_unk
    assert UNK not in without and 0 not in without
