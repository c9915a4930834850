"""Stock sherpa-onnx runs every kind of export: both heads, streaming and offline, in all forms.

In float32 it emits what PyTorch emits, token by token at the same frames. In half precision and
with 8-bit weights it emits what the same graph emits here, with 8 bits give or take a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sherpa_onnx
import torch
from export.test_sherpa import emitted, hear, with_tail
from kaldialign import edit_distance
from released.official import OFFICIAL
from trained_digits import read_strings, trained

from zipformer.checkpoint.adoption import adopt
from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.export import Options, export_offline, export_streaming
from zipformer.export.onnx_file import form_path
from zipformer.export.options import Form, Head
from zipformer.export.runtime import OnnxModel
from zipformer.released.source import read_released
from zipformer.search import Search, make_searcher
from zipformer.search.protocol import Hypothesis
from zipformer.streaming import Recognizer

pytestmark = pytest.mark.sherpa
HEADS: tuple[Head, ...] = ("transducer", "ctc")
SEARCHES = {"transducer": Search("greedy"), "ctc": Search("ctc_greedy")}
CONTEXTS = [
    Context(32, 128, 64),
    *(pytest.param(Context(32, 128, right), marks=pytest.mark.long) for right in (0, 128, 256)),
]


@pytest.fixture(scope="module")
def audio(digit_strings: Path) -> list[np.ndarray]:
    """Two recordings of several strings each, long enough for twenty words."""
    strings = [cut.load_audio()[0] for cut in read_strings(digit_strings)[:12]]
    return [np.concatenate(strings[:6]), np.concatenate(strings[6:])]


@pytest.fixture(scope="module")
@torch.no_grad()
def official(tmp_path_factory: pytest.TempPathFactory, audio: list[np.ndarray]) -> LoadedModel:
    """The reference model; its heads, whose random weights say one word for ever, say several."""
    out = tmp_path_factory.mktemp("exp") / "official"
    adopt(read_released(str(OFFICIAL / "streaming")), out)
    loaded = load_model(out)
    features = extract(audio[0])[None]
    encoded, _ = loaded.model.encoder(features, torch.tensor([features.shape[1]]))
    assert loaded.model.ctc_output and loaded.model.joiner and loaded.model.predictor
    _spread(loaded.model.ctc_output[1], encoded[0])
    joiner, start = loaded.model.joiner, loaded.model.predictor(torch.zeros(1, 1).long())
    _spread(joiner.output_linear, joiner.encoder_proj(encoded[0]) + joiner.decoder_proj(start[0]))
    return loaded


def _spread(output: torch.nn.Linear, inputs: torch.Tensor) -> None:
    """Lets logits vary over frames around their mean, that of the blank a little above."""
    inputs = torch.tanh(inputs) if output.in_features == 40 else inputs
    output.weight.mul_(3.0 / (inputs @ output.weight.T).std(0)[:, None])
    output.bias.copy_(-(inputs @ output.weight.T).mean(0))
    output.bias[0] += 2.0
    output.bias[2] -= 100.0  # <unk>: a blank to searches here, and a token to CTC in sherpa-onnx


def recognizer(
    folder: Path, head: Head, streams: bool, form: Form = "float32"
) -> sherpa_onnx.OnlineRecognizer | sherpa_onnx.OfflineRecognizer:
    tokens = str(folder / "tokens.txt")
    if head == "ctc":
        model = str(form_path(folder / "model.onnx", form))
        if streams:
            return sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(tokens, model, num_threads=1)
        return sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(model, tokens)
    names = ("encoder", "decoder", "joiner")
    files = {name: str(form_path(folder / f"{name}.onnx", form)) for name in names}
    kind = sherpa_onnx.OnlineRecognizer if streams else sherpa_onnx.OfflineRecognizer
    return kind.from_transducer(**files, tokens=tokens, num_threads=1)


def heard_offline(
    recognizer: sherpa_onnx.OfflineRecognizer, audio: Sequence[np.ndarray]
) -> list[list[tuple[str, int]]]:
    results = []
    for samples in audio:
        stream = recognizer.create_stream()
        stream.accept_waveform(16000, samples)
        recognizer.decode_stream(stream)
        results.append(emitted(stream.result))
    return results


@torch.no_grad()
def in_pytorch(
    loaded: LoadedModel, head: Head, context: Context, samples: np.ndarray
) -> Hypothesis:
    features = extract(samples)
    out, lengths = loaded.model.encoder(features[None], torch.tensor([len(features)]), context)
    search = make_searcher(loaded.model, loaded.tokenizer.pieces, SEARCHES[head])
    return search.decode(out, lengths)[0]


def alone(model: OnnxModel, audio: Sequence[np.ndarray], head: Head) -> list[Hypothesis]:
    """One by one: 8-bit products take one scale for all utterances of a batch."""
    return [model.decode([samples], SEARCHES[head])[0] for samples in audio]


def named(hypothesis: Hypothesis, tokens: Sequence[str]) -> list[tuple[str, int]]:
    words = [tokens[token].replace("\u2581", " ") for token in hypothesis.tokens]
    return list(zip(words, hypothesis.frames, strict=True))


def check_long(sequence: Sequence[tuple[str, int]]) -> None:
    assert len(sequence) >= 20 and len({token for token, _ in sequence}) >= 3, sequence


def check_equal(
    found: Sequence[tuple[str, int]], wanted: Sequence[tuple[str, int]], form: Form
) -> None:
    """Features differ in their last digits, and 8-bit products make a frame or a word of that."""
    if form != "int8":
        assert found == wanted, form
        return
    tokens = [[token for token, _ in pairs] for pairs in (found, wanted)]
    assert edit_distance(*tokens)["total"] <= 1


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize("head", ["ctc", pytest.param("transducer", marks=pytest.mark.long)])
def test_a_released_model_says_the_same_whole_live_and_in_sherpa(
    official: LoadedModel, audio: list[np.ndarray], tmp_path: Path, head: Head, context: Context
) -> None:
    tokens = official.tokenizer.tokens
    export_streaming(official.model, tokens, context, tmp_path, Options(head))
    with_silence = [with_tail(samples, context) for samples in audio]
    theirs = [emitted(r) for r in hear(recognizer(tmp_path, head, True), with_silence)]
    live = Recognizer.of(official, context, SEARCHES[head])
    for samples, found in zip(with_silence, theirs, strict=True):
        whole = named(in_pytorch(official, head, context, samples), tokens)
        stream = live.open()
        stream.push(samples)
        stream.close()
        assert named(stream.final, tokens) == whole
        # The silence is at least as long as sherpa-onnx must hear; what it never hears is silence.
        heard = [pair for pair in whole if pair[1] <= (found[-1][1] if found else 0)]
        check_long(found)
        assert found == heard


@pytest.mark.long
@pytest.mark.parametrize("head", HEADS)
def test_whole_utterances(audio: list[np.ndarray], tmp_path: Path, head: Head) -> None:
    loaded, full = trained(), Context.full()
    tokens = loaded.tokenizer.tokens
    export_offline(loaded.model, tokens, tmp_path, Options(head, int8=True))
    for form in ("float32", "int8"):
        theirs = heard_offline(recognizer(tmp_path, head, False, form), audio)
        ours = alone(OnnxModel(tmp_path, form), audio, head)
        for samples, found, same_graph in zip(audio, theirs, ours, strict=True):
            check_long(found)
            check_equal(found, named(same_graph, tokens), form)
            if form == "float32":
                assert found == named(in_pytorch(loaded, head, full, samples), tokens)


@pytest.mark.long
@pytest.mark.parametrize("head", HEADS)
def test_streams_in_smaller_forms(audio: list[np.ndarray], tmp_path: Path, head: Head) -> None:
    loaded, context = trained(), Context(32, 256, 64)
    tokens = loaded.tokenizer.tokens
    options = Options(head, int8=True, float16=True)
    export_streaming(loaded.model, tokens, context, tmp_path, options)
    for form in ("float32", "float16", "int8"):
        model = recognizer(tmp_path, head, True, form)
        theirs = [emitted(hear(model, [with_tail(s, context)])[0]) for s in audio]
        ours = alone(OnnxModel(tmp_path, form), audio, head)
        for found, same_graph in zip(theirs, ours, strict=True):
            check_long(found)
            check_equal(found, named(same_graph, tokens), form)
