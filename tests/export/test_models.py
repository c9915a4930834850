"""Exports refuse what cannot be, leave the model alone, and write whole files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export.conftest import INT8
from export.small_export import TOKENS, expressive_transducer
from kaldialign import edit_distance
from nn.small_encoder import TINY
from tiny_run import ENCODER
from trained_digits import read_strings, trained

from zipformer import Context
from zipformer.config import ModelConfig
from zipformer.export import Options, export_offline, export_streaming
from zipformer.export.options import Form
from zipformer.export.runtime import OnnxModel
from zipformer.model import AsrModel

CONTEXT = Context(32, 128, 64)
FORMS: tuple[Form, ...] = ("float32", "int8")


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (Context.full(), "cannot stream"),
        (Context(32, -1, 64), "cannot stream"),
        (Context(32, 128, 40), "nearest allowed: 32 or 48"),
        (Context(32, 96), "nearest allowed: 128"),
    ],
    ids=str,
)
def test_a_context_that_cannot_stream_is_refused(
    tmp_path: Path, context: Context, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_streaming(expressive_transducer(), TOKENS, context, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_is_not_causal_is_refused_for_streams(tmp_path: Path) -> None:
    model = expressive_transducer(replace(TINY, causal=False))
    with pytest.raises(ValueError, match="causal = false"):
        export_streaming(model, TOKENS, CONTEXT, tmp_path)


def test_a_frontend_that_sherpa_has_no_room_for_is_refused(tmp_path: Path) -> None:
    model = expressive_transducer(replace(TINY, frontend_channels=(4, 8, 136)))
    with pytest.raises(ValueError, match=r"136 channels .* 128 .* export_offline"):
        export_streaming(model, TOKENS, CONTEXT, tmp_path)


def test_tokens_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="10 tokens, but the model knows 11"):
        export_streaming(expressive_transducer(), TOKENS[:-1], CONTEXT, tmp_path)
    with pytest.raises(ValueError, match="10 tokens"):
        export_offline(expressive_transducer(), TOKENS[:-1], tmp_path)


def test_a_model_without_transducer_is_refused(tmp_path: Path) -> None:
    model = AsrModel(ENCODER, len(TOKENS), ModelConfig(transducer=False, ctc=True)).eval()
    message = "an export of the transducer .*--head ctc.*this model's heads are: ctc"
    with pytest.raises(ValueError, match=message):
        export_streaming(model, TOKENS, CONTEXT, tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        export_offline(model, TOKENS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_half_precision_is_for_streams_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="written for streams alone"):
        export_offline(expressive_transducer(), TOKENS, tmp_path / "x", Options(float16=True))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing} .*\.\[export\]"):
        export_streaming(expressive_transducer(), TOKENS, CONTEXT, tmp_path)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = expressive_transducer(ENCODER).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_offline(model, TOKENS, tmp_path)
    assert model.training and all(p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    wanted = {"encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "README.txt"}
    assert {path.name for path in tmp_path.iterdir()} == wanted


def test_an_encoder_that_is_not_causal_can_be_offline(tmp_path: Path) -> None:
    model = expressive_transducer(replace(ENCODER, causal=False))
    export_offline(model, TOKENS, tmp_path)
    x = torch.randn(1, 90, 80)
    with torch.no_grad():
        out, _ = model.encoder(x, torch.tensor([90]))
        wanted = model.joiner.encoder_proj(out)
    found, _ = OnnxModel(tmp_path).encoder(x, torch.tensor([90]))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


def test_no_step_computes_shapes_or_what_never_changes(exported: Callable) -> None:
    model = onnx.load(exported(INT8) / "encoder.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert not {"Shape", "ConstantOfShape", "Range", "Softplus", "Cos", "ScatterND"} & set(kinds)
    assert {node.domain for node in model.graph.node} == {""}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert not constants.issuperset(node.input), f"{node.name} is constant"


def test_files_with_8_bit_weights_are_small_and_say_nearly_the_same(
    exported: Callable, digit_strings: Path
) -> None:
    folder = exported(INT8)
    for name, most in (("encoder", 0.5), ("decoder", 0.5), ("joiner", 0.6)):
        whole, small = (folder / f"{name}{s}.onnx" for s in ("", ".int8"))
        assert small.stat().st_size < most * whole.stat().st_size
    audio = [cut.load_audio()[0] for cut in read_strings(digit_strings)[:6]]
    features = OnnxModel(folder).features(np.concatenate(audio))[None]
    lengths = torch.tensor([features.shape[1]])
    (exact, _), (rough, _) = (OnnxModel(folder, form).encoder(features, lengths) for form in FORMS)
    error = (rough - exact).std() / exact.std()
    assert 1e-4 < error < 0.2
    words = [
        [trained().tokenizer.decode(h.tokens) for h in OnnxModel(folder, form).decode(audio)]
        for form in FORMS
    ]
    # How 8-bit products are rounded depends on the processor; a word may fall on the other side.
    pairs = [(a.split(), b.split()) for a, b in zip(*words, strict=True)]
    assert all(a for a, _ in pairs)
    assert sum(edit_distance(a, b)["total"] for a, b in pairs) <= 1
