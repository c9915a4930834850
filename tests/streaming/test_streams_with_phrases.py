"""Streams of one batch prefer phrases of their own, and hear what whole utterances would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from biasing.plain_bonus import hotwords
from tiny_run import ALL_HEADS, tiny_run

from zipformer import Context
from zipformer.biasing import Hotwords
from zipformer.checkpoint.loading import LoadedModel
from zipformer.data.features import extract
from zipformer.search.protocol import Hypothesis
from zipformer.search.search import Kind, Search, make_searcher
from zipformer.streaming import LiveStream, Recognizer, WholeRecognizer

CONTEXT = Context(32, 128, 64)
KINDS: tuple[Kind, ...] = ("modified_beam_search", "ctc_prefix_beam_search")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"), ALL_HEADS)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def lists(loaded: LoadedModel) -> list[Hotwords | None]:
    """Strong enough to change what random weights say."""
    size = loaded.tokenizer.vocab_size
    one = hotwords(((9, 4, 6), 3.0), ((14,), 3.0), vocabulary=size, name="one")
    return [one, None, hotwords(((17, 6), 3.0), ((12,), 3.0), vocabulary=size, name="other")]


@torch.no_grad()
def whole(
    loaded: LoadedModel, samples: np.ndarray, kind: Kind, phrases: Hotwords | None
) -> Hypothesis:
    features = extract(samples[None])[None]
    out = loaded.model.encoder(features, torch.tensor([features.shape[1]]), CONTEXT)
    search = Search(kind, hotwords=phrases)
    return make_searcher(loaded.model, loaded.tokenizer.pieces, search).decode(*out)[0]


def hear_together(recognizer: Recognizer, streams: list[LiveStream], seed: int) -> None:
    for i, stream in enumerate(streams):
        recognizer.accept(stream, sound(2.0, seed=seed + i))
    recognizer.advance(streams)


@pytest.mark.parametrize("kind", KINDS)
def test_streams_under_lists_of_their_own_hear_what_whole_utterances_hear(
    loaded: LoadedModel, kind: Kind
) -> None:
    recognizer = Recognizer.of(loaded, CONTEXT, Search(kind))
    streams = [recognizer.open() for _ in range(3)]
    for stream, phrases in zip(streams, lists(loaded), strict=True):
        stream.prefer(phrases)
    hear_together(recognizer, streams, seed=0)
    found = [result.tokens for result in recognizer.close(streams)]
    for i, phrases in enumerate(lists(loaded)):
        assert found[i] == whole(loaded, sound(2.0, seed=i), kind, phrases).tokens
    assert found[0] != whole(loaded, sound(2.0), kind, None).tokens


@pytest.mark.parametrize("kind", KINDS)
def test_phrases_change_while_a_stream_runs_and_what_is_final_stays(
    loaded: LoadedModel, kind: Kind
) -> None:
    first, _, second = lists(loaded)
    recognizer = Recognizer.of(loaded, CONTEXT, Search(kind, hotwords=first))
    streams = [recognizer.open() for _ in range(2)]
    for stream in streams:
        stream.push(sound(2.0))
    before = list(streams[0].final.tokens)
    streams[0].prefer(second)
    for stream in streams:
        stream.push(sound(3.0, seed=1))
    changed, same = (result.tokens for result in recognizer.close(streams))
    assert changed[: len(before)] == same[: len(before)] == before
    samples = np.concatenate([sound(2.0), sound(3.0, seed=1)])
    assert same == whole(loaded, samples, kind, first).tokens != changed


def test_a_segment_that_begins_anew_keeps_the_phrases_of_its_stream(loaded: LoadedModel) -> None:
    (first, *_), kind = lists(loaded), KINDS[0]
    recognizer = Recognizer.of(loaded, CONTEXT, Search(kind))
    stream = recognizer.open()
    stream.prefer(first)
    stream.push(sound(1.28))
    stream.begin_segment(reset=True)
    assert recognizer._search_state(stream).nodes.unique().tolist() == [1]  # type: ignore[attr-defined]
    stream.push(sound(2.0, seed=3))
    other = Recognizer.of(loaded, CONTEXT, Search(kind, hotwords=first)).open()
    other.push(sound(1.28))
    other.begin_segment(reset=True)
    other.push(sound(2.0, seed=3))
    assert stream.close().tokens == other.close().tokens


def test_utterances_that_are_heard_as_a_whole_have_lists_of_their_own_too(
    loaded: LoadedModel,
) -> None:
    recognizer = WholeRecognizer.of(loaded, Context.full(), Search(KINDS[0]))
    texts = []
    for phrases in lists(loaded)[:2]:
        stream = recognizer.open()
        stream.prefer(phrases)
        stream.push(sound(2.0))
        texts.append(stream.close().text)
    assert texts[0] != texts[1]


@pytest.mark.parametrize("kind", ["greedy", "ctc_greedy", "attention_rescoring"])
def test_a_search_that_cannot_is_refused(loaded: LoadedModel, kind: Kind) -> None:
    stream = Recognizer.of(loaded, CONTEXT, Search(kind)).open()
    with pytest.raises(ValueError, match=f"{kind}.* cannot prefer phrases stream by stream"):
        stream.prefer(lists(loaded)[0])
