"""Live streams through onnxruntime have the words of PyTorch, whoever else is in the batch."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import ENCODER
from trained_digits import read_strings, trained

from zipformer import Context
from zipformer.commands.fast_steps import fast_recognizer, fast_steps
from zipformer.data.audio import cut_samples
from zipformer.evaluation.live import decode_live
from zipformer.export import OnnxSteps
from zipformer.streaming import Recognizer, WholeRecognizer
from zipformer.streaming.packed_step import PackedStep, example_of

CONTEXT = Context(32, 256, 64)


@pytest.fixture(scope="module")
def quick() -> Recognizer:
    return Recognizer.of(trained(), CONTEXT, prepare=OnnxSteps(num_threads=1))


def test_the_words_are_those_of_pytorch(quick: Recognizer, digit_strings: Path) -> None:
    cuts = read_strings(digit_strings)
    plain = Recognizer.of(trained(), CONTEXT)
    results = [
        {each.cut.id: each.result for each in decode_live(recognizer, cuts)}
        for recognizer in (quick, plain)
    ]
    for name, found in results[0].items():
        wanted = results[1][name]
        assert (found.text, found.frames) == (wanted.text, wanted.frames)
        assert found.log_probs == pytest.approx(wanted.log_probs, abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("streams", [1, 2, 5])
def test_a_step_is_the_same_for_any_number_of_streams(quick: Recognizer, streams: int) -> None:
    step = PackedStep(trained().model.encoder, CONTEXT)
    features, packed, processed = (torch.cat([x[:1]] * streams) for x in example_of(step))
    features = features + torch.randn_like(features)
    packed = packed + 0.1 * torch.randn_like(packed)
    inputs = features, packed, processed + 32 * torch.arange(streams)
    for found, wanted in zip(quick._encode(*inputs), step(*inputs), strict=True):
        assert (found - wanted).abs().max() <= 10 * ENCODER


def test_what_comes_next_is_shown_as_by_pytorch(quick: Recognizer, digit_strings: Path) -> None:
    samples = cut_samples(read_strings(digit_strings)[0], 16000)
    shown = []
    for recognizer in (quick, Recognizer.of(trained(), CONTEXT)):
        stream, lines = recognizer.open(), []
        for piece in np.array_split(samples, 20):
            stream.push(piece)
            lines.append((stream.text, stream.provisional))
        shown.append(lines)
    assert shown[0] == shown[1]
    assert any(provisional for _, provisional in shown[0])


def test_weights_of_8_bits_hear_nearly_the_same(digit_strings: Path) -> None:
    cuts = read_strings(digit_strings)[:6]
    recognizer = Recognizer.of(trained(), CONTEXT, prepare=OnnxSteps(1, int8=True))
    heard = [each.result.text for each in decode_live(recognizer, cuts)]
    said = {cut.supervisions[0].text for cut in cuts}
    assert len(said & set(heard)) >= len(cuts) - 2


def test_the_fastest_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(fast_recognizer(trained(), Context.full()), WholeRecognizer)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.WARNING):
        prepare = fast_steps(trained())
    assert getattr(prepare, "__name__", "") == "trace"
    assert "pip install -e '.[export]'" in caplog.text
    with pytest.raises(ValueError, match="8-bit steps: export to ONNX needs the package"):
        fast_steps(trained(), int8=True)
