"""Phrases are preferred stream by stream, and where there are none nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from biasing.plain_bonus import hotwords
from search.searches import PHRASES, SOME, ctc_prefix_beam, joint_beam, modified_beam
from search.talkative_heads import V, assert_same, frames, in_steps
from search.test_search_laws import tensors

from zipformer.biasing import Hotwords, biasing
from zipformer.search.biased_search import BiasedSearch
from zipformer.search.protocol import Hypothesis

Make = Callable[..., BiasedSearch]
NONE = hotwords(vocabulary=V)
OTHERS = hotwords(((4, 1), 2.0), ((5,), 1.5), vocabulary=V, name="others")


@pytest.fixture(
    params=[partial(modified_beam, calm=2.0), joint_beam, ctc_prefix_beam],
    ids=["modified", "joint", "ctc"],
)
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


def under(search: BiasedSearch, lists: Sequence[Hotwords | None]) -> list[Hypothesis]:
    """What a batch of seeded utterances says, each under its own phrases, 7 frames a step."""
    encoded, lengths = frames(len(lists), 42), torch.tensor([42, 30, 42, 39][: len(lists)])
    state = search.prefer(search.initial_state(len(lists)), lists)
    for start in range(0, 42, 7):
        valid = (lengths - start).clamp(0, 7)
        state = search.step(encoded[:, start : start + 7], valid, state)
    return search.hypotheses(state)


def test_an_empty_list_changes_nothing_bit_for_bit(make: Make) -> None:
    encoded, lengths = frames(3, 40), torch.tensor([40, 21, 0])
    for phrases in (NONE, None):
        without, empty = make(), make(phrases=phrases)
        one = without.step(encoded, lengths, without.initial_state(3))
        other = empty.step(encoded, lengths, empty.initial_state(3))
        other.nodes[:] = 0  # where the empty list begins
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(a, b)


def test_phrases_are_heard_more_often_and_the_more_the_higher_their_score(make: Make) -> None:
    """Sanity, not a law of a single utterance: over ten of them."""
    encoded, lengths = frames(10, 60), torch.full((10,), 60)

    def heard(score: float) -> int:
        phrases = hotwords(((1, 3), score), vocabulary=V)
        said = [h.tokens for h in make(phrases=phrases).decode(encoded, lengths)]
        return sum(pair == (1, 3) for s in said for pair in zip(s, s[1:], strict=False))

    counts = [heard(score) for score in (-4.0, 0.0, 1.0, 4.0)]
    assert counts == sorted(counts) and counts[0] < counts[1] < counts[3]


def test_batch_mates_under_other_lists_change_nothing(make: Make) -> None:
    lists = [SOME, None, OTHERS, SOME]
    together = under(make(), lists)
    for phrases in (SOME, OTHERS, None):
        same = under(make(phrases=OTHERS), [phrases] * 4)
        mine = [i for i, each in enumerate(lists) if each is phrases]
        assert_same([together[i] for i in mine], [same[i] for i in mine])
    assert [h.tokens for h in under(make(), [None] * 4)] != [h.tokens for h in together]


def test_the_order_in_which_lists_are_met_changes_nothing(make: Make) -> None:
    search = make(phrases=OTHERS)
    under(search, [SOME, None])
    assert_same(under(search, [OTHERS, SOME]), under(make(), [OTHERS, SOME]))


def test_other_phrases_from_some_frame_on_keep_what_was_earned(make: Make) -> None:
    search, encoded = make(phrases=SOME), frames(1, 30)
    state = search.step(encoded[:, :15], torch.tensor([15]), search.initial_state(1))
    other = search.prefer(state, [OTHERS])
    assert torch.equal(other.earned, state.earned) and state.earned.any()
    assert search.hypotheses(other) == search.hypotheses(state)
    rest = search.step(encoded[:, 15:], torch.tensor([15]), other)
    kept = search.step(encoded[:, 15:], torch.tensor([15]), state)
    assert search.hypotheses(rest)[0].tokens != search.hypotheses(kept)[0].tokens
    assert search.hypotheses(search.step(encoded[:, 15:], torch.tensor([15]), state)) == (
        search.hypotheses(kept)  # the old state goes on as it would have
    )


def test_what_is_begun_counts_no_more_in_the_end(make: Make) -> None:
    """A phrase that takes longer than the audio changes scores by nothing."""
    phrases = hotwords((tuple([1, 3, 4, 5, 6] * 20), 1e-3), vocabulary=V)
    encoded, lengths = frames(1, 30), torch.tensor([30])
    biased, plain = make(beam=300, phrases=phrases), make(beam=300)
    for search in (biased, plain):
        assert search.decode(encoded[:, :4], lengths - 26)
    one, other = (
        search.n_best(search.step(encoded[:, :4], lengths - 26, search.initial_state(1)))[0]
        for search in (biased, plain)
    )
    scores = {tuple(entry.hypothesis.tokens): entry.score for entry in other}
    compared = [e for e in one if tuple(e.hypothesis.tokens) in scores]
    assert any(entry.hypothesis.tokens[-2:] == [1, 3] for entry in compared)
    for entry in compared:
        assert entry.score == pytest.approx(scores[tuple(entry.hypothesis.tokens)], abs=1e-9)


def test_rows_that_were_given_up_are_made_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = under(make(), [SOME, OTHERS, None, SOME])
    monkeypatch.setattr(biasing, "MOST_BYTES", 1)
    monkeypatch.setattr(biasing, "FEWEST_ROWS", 1)
    assert_same(under(make(), [SOME, OTHERS, None, SOME]), wanted)


def test_streams_made_and_stepped_in_inference_mode_go_on_outside_of_it(make: Make) -> None:
    encoded, lengths = frames(2, 30), torch.tensor([30, 30])
    wanted = make(phrases=SOME).decode(encoded, lengths)
    search = make()
    with torch.inference_mode():
        state = search.prefer(search.initial_state(2), [SOME, SOME])
        state = search.step(encoded[:, :5], torch.tensor([5, 5]), state)
    state = search.step(encoded[:, 5:], lengths - 5, state)
    assert_same(search.hypotheses(state), wanted)
    assert_same(in_steps(search, encoded, lengths, [9, 21])[0], make().decode(encoded, lengths))


def test_phrases_of_another_vocabulary_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="phrases x are tokens of a vocabulary of 9, .* one of 7"):
        make(phrases=SOME).prefer(make().initial_state(1), [hotwords(*PHRASES, vocabulary=9)])
