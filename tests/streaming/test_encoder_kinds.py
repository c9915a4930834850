"""Every kind of encoder streams through the same recognizer, with the words of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nn.small_encoder import BASELINES, KINDS
from tiny_run import ALL_HEADS, tiny_run
from tolerances import ENCODER

from zipformer import Context
from zipformer.checkpoint.loading import LoadedModel
from zipformer.commands.fast_steps import fast_steps
from zipformer.data.features import extract
from zipformer.search import Search
from zipformer.search.search import KINDS as SEARCHES
from zipformer.streaming import Recognizer, trace

CONTEXT = Context(32, 128, 64)


@pytest.fixture(scope="module", params=BASELINES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"), ALL_HEADS, KINDS[request.param])


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@pytest.mark.parametrize("search", map(Search, SEARCHES), ids=str)
@torch.no_grad()
def test_a_stream_hears_what_the_whole_utterance_hears(loaded: LoadedModel, search: Search) -> None:
    recognizer = Recognizer.of(loaded, CONTEXT, search)
    samples = sound(3.0)
    features = extract(samples[None])[None]
    encoded = loaded.model.encoder(features, torch.tensor([features.shape[1]]), CONTEXT)
    wanted = recognizer.searcher.decode(*encoded)[0]
    stream = recognizer.open()
    for piece in np.array_split(samples, 11):
        stream.push(piece)
    assert wanted.tokens
    assert (stream.close().tokens, stream.result.frames) == (wanted.tokens, wanted.frames)


def test_a_traced_step_hears_the_same(loaded: LoadedModel) -> None:
    states = []
    for prepare in (None, trace, fast_steps(loaded, threads=1)):
        recognizer = Recognizer.of(loaded, CONTEXT, prepare=prepare)
        streams = [recognizer.open() for _ in range(3)]
        for turn in range(4):  # batches of 3 and 2 streams, with different pasts
            for i, stream in enumerate(streams[: 3 - turn // 2]):
                stream.accept(sound(0.7, seed=10 * turn + i))
            recognizer.advance(streams)
        states.append([s.encoder_state for s in streams])
    for plain, *others in zip(*states, strict=True):
        for other in others:
            assert (other - plain).abs().max() <= 10 * ENCODER  # keys and sums are large
