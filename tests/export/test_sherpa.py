"""Stock sherpa-onnx runs the exports of a trained model and says what PyTorch says.

To it, an utterance is the audio and the silence behind it. Over these PyTorch gives the same tokens
at the same frames. Without the silence, which is what decode.py scores, the words are the same too,
but for one word of few utterances: near the end, right context holds silence in one and nothing in
the other, and a word hangs on that now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx
import torch
from export.pytorch_words import SEARCHES, check_but_for_the_end
from torch import Tensor
from trained_digits import read_strings, trained

from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.export.feeding import num_steps, tail_seconds
from zipformer.search import make_searcher
from zipformer.search.protocol import Hypothesis

pytestmark = pytest.mark.sherpa
CONTEXTS = [
    *(Context(32, 256, right) for right in (0, 256)),
    *(pytest.param(Context(32, 256, right), marks=pytest.mark.long) for right in (64, 128)),
]
AT_ONCE = 20  # streams


def load(manifest: Path) -> list[np.ndarray]:
    return [cut.load_audio()[0] for cut in read_strings(manifest)]


def files(folder: Path) -> dict[str, str]:
    names = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
    return names | {"tokens": str(folder / "tokens.txt")}


def streaming(folder: Path, method: str) -> sherpa_onnx.OnlineRecognizer:
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        **files(folder), num_threads=1, decoding_method=method, max_active_paths=4
    )


def with_tail(samples: np.ndarray, context: Context) -> np.ndarray:
    return np.pad(samples, (0, round(16000 * tail_seconds(context))))


def hear(recognizer: sherpa_onnx.OnlineRecognizer, audio: Sequence[np.ndarray]) -> list[Any]:
    """Some at once, in steps of whoever is ready."""
    if len(audio) > AT_ONCE:
        return hear(recognizer, audio[:AT_ONCE]) + hear(recognizer, audio[AT_ONCE:])
    streams = [recognizer.create_stream() for _ in audio]
    for stream, samples in zip(streams, audio, strict=True):
        stream.accept_waveform(16000, samples)
        stream.input_finished()
    while ready := [s for s in streams if recognizer.is_ready(s)]:
        recognizer.decode_streams(ready)
    return [recognizer.get_result_all(s) for s in streams]


def emitted(result: Any) -> list[tuple[str, int]]:
    """Tokens and the frames that they were emitted at."""
    frames = [round(seconds / 0.04) for seconds in result.timestamps]
    return list(zip(result.tokens, frames, strict=True))


@cache
@torch.no_grad()
def encoded(manifest: Path, context: Context, tail: bool) -> tuple[Tensor, Tensor]:
    """The windowed pass over all strings; with silence behind them, whole steps alone count."""
    audio = load(manifest)
    features = [extract(with_tail(s, context) if tail else s) for s in audio]
    lengths = torch.tensor([len(f) for f in features])
    out, out_lengths = trained().model.encoder(
        torch.nn.utils.rnn.pad_sequence(features, batch_first=True), lengths, context
    )
    if tail:
        steps = [num_steps(context, len(f)) for f in features]
        out_lengths = torch.tensor(steps) * context.chunk // 4
    return out, out_lengths


def search(manifest: Path, context: Context, method: str, tail: bool) -> list[Hypothesis]:
    """What PyTorch hears in all strings."""
    decoder = make_searcher(trained().model, trained().tokenizer.tokens, SEARCHES[method])
    return decoder.decode(*encoded(manifest, context, tail))


def written(found: Hypothesis) -> list[tuple[str, int]]:
    """As sherpa-onnx writes it down."""
    pieces = [token.replace("▁", " ") for token in trained().tokenizer.tokens]
    return [(pieces[i], frame) for i, frame in zip(found.tokens, found.frames, strict=True)]


@pytest.mark.parametrize("method", SEARCHES)
@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_streams_hear_the_same_tokens_at_the_same_frames(
    exported: Callable, digit_strings: Path, context: Context, method: str
) -> None:
    cuts = read_strings(digit_strings)
    padded = [with_tail(samples, context) for samples in load(digit_strings)]
    results = hear(streaming(exported(context), method), padded)
    wanted = search(digit_strings, context, method, tail=True)
    assert [emitted(result) for result in results] == [written(found) for found in wanted]
    found = search(digit_strings, context, method, tail=False)
    scored = [trained().tokenizer.decode(hypothesis.tokens) for hypothesis in found]
    check_but_for_the_end([result.text.strip() for result in results], scored)
    assert len(set(scored)) > len(cuts) // 2


def test_a_stream_alone_hears_what_it_hears_in_a_batch(
    exported: Callable, digit_strings: Path
) -> None:
    context = Context(32, 256, 64)
    recognizer = streaming(exported(context), "greedy_search")
    audio = [with_tail(samples, context) for samples in load(digit_strings)[:6]]
    together = hear(recognizer, audio)
    for samples, result in zip(audio, together, strict=True):
        stream = recognizer.create_stream()
        for start in range(0, len(samples), 1234):  # as a microphone would
            stream.accept_waveform(16000, samples[start : start + 1234])
            while recognizer.is_ready(stream):
                recognizer.decode_stream(stream)
        stream.input_finished()
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
        assert emitted(recognizer.get_result_all(stream)) == emitted(result)


def test_less_silence_than_the_readme_says_loses_the_end(
    exported: Callable, digit_strings: Path
) -> None:
    context = Context(32, 256, 256)
    recognizer = streaming(exported(context), "greedy_search")
    audio = load(digit_strings)[:6]
    short = hear(recognizer, [np.pad(samples, (0, 8000)) for samples in audio])
    whole = hear(recognizer, [with_tail(samples, context) for samples in audio])
    assert all(len(s.tokens) < len(w.tokens) for s, w in zip(short, whole, strict=True))


@pytest.mark.parametrize("method", SEARCHES)
def test_the_offline_twin_says_what_full_context_says(
    exported: Callable, digit_strings: Path, method: str
) -> None:
    recognizer = sherpa_onnx.OfflineRecognizer.from_transducer(
        **files(exported(Context.full())), decoding_method=method, max_active_paths=4
    )
    audio = load(digit_strings)
    streams = [recognizer.create_stream() for _ in audio]
    for stream, samples in zip(streams, audio, strict=True):
        stream.accept_waveform(16000, samples)
    recognizer.decode_streams(streams)
    wanted = search(digit_strings, Context.full(), method, tail=False)
    assert [emitted(stream.result) for stream in streams] == [written(found) for found in wanted]
