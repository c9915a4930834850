"""Whole utterances behind the face of a stream have the words of decoding at full context."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_run import tiny_run

from zipformer import Context
from zipformer.checkpoint.loading import LoadedModel
from zipformer.evaluation.transcribe import Transcriber
from zipformer.search import Search
from zipformer.streaming import Recognizer, WholeRecognizer


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


def sound(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@pytest.mark.parametrize("search", [Search("greedy"), Search("modified_beam_search", 4)], ids=str)
def test_words_come_at_the_end_and_are_those_of_full_context(
    loaded: LoadedModel, search: Search
) -> None:
    recognizer = WholeRecognizer.of(loaded, Context.full(), search)
    transcriber = Transcriber(loaded, Context.full(), search)
    sounds = [sound(seconds, i) for i, seconds in enumerate((3.0, 0.7, 5.21))]
    streams = [recognizer.open() for _ in sounds]
    for stream, samples in zip(streams, sounds, strict=True):
        for piece in np.array_split(samples, 5):
            stream.push(piece)
        assert stream.text == stream.provisional == ""
    results = recognizer.close(streams)
    for samples, result in zip(sounds, results, strict=True):
        assert result.words == transcriber.words(torch.from_numpy(samples))
        assert result.seconds == pytest.approx(len(samples) / 16000)
    assert all(result.text for result in results)


@pytest.mark.parametrize("count", [0, 1, 159])
def test_next_to_nothing_has_no_words(loaded: LoadedModel, count: int) -> None:
    stream = WholeRecognizer.of(loaded, Context.full()).open()
    stream.push(np.zeros(count, np.float32))
    assert stream.close().text == ""


def test_each_recognizer_has_its_contexts(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="32/128/0 is not full"):
        WholeRecognizer.of(loaded, Context(32, 128))
    with pytest.raises(ValueError, match="full cannot stream"):
        Recognizer.of(loaded, Context.full())
