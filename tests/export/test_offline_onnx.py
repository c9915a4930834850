"""An offline export computes what ``Encoder.forward`` computes with full context."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from export.small_export import TOKENS, expressive_transducer, run, session, shapes
from onnxruntime import InferenceSession
from tolerances import ENCODER, ROUNDING

from zipformer.export import export_offline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offline")
    export_offline(expressive_transducer(), TOKENS, folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> InferenceSession:
    return session(folder / "encoder.onnx")


@pytest.mark.parametrize(
    "lengths",
    [[100, 50], [333], [9], [10], [64], [71, 8, 9, 40], [5], [500, 17, 333, 1]],
    ids=str,
)
@torch.no_grad()
def test_it_equals_the_model_at_any_length_and_batch(
    encoder: InferenceSession, lengths: list[int]
) -> None:
    model = expressive_transducer()
    x, x_lens = torch.randn(len(lengths), max(lengths), 80), torch.tensor(lengths)
    out, out_lens = model.encoder(x, x_lens)
    found, found_lens = run(encoder, x, x_lens)
    assert found_lens.tolist() == out_lens.tolist()
    assert found.shape[1] == out.shape[1]
    wanted = model.joiner.encoder_proj(out)
    for a, b, length in zip(found, wanted, out_lens.tolist(), strict=True):
        torch.testing.assert_close(a[:length], b[:length], atol=ENCODER, rtol=ROUNDING)


def test_what_lies_behind_the_end_changes_nothing(encoder: InferenceSession) -> None:
    x = torch.randn(1, 120, 80)
    alone, _ = run(encoder, x[:, :77], torch.tensor([77]))
    padded, lengths = run(encoder, x, torch.tensor([77]))
    torch.testing.assert_close(padded[:, : int(lengths[0])], alone, atol=ROUNDING, rtol=ROUNDING)


def test_it_takes_and_gives_what_sherpa_expects(encoder: InferenceSession) -> None:
    assert shapes(encoder.get_inputs()) == {"x": ["N", "T", 80], "x_lens": ["N"]}
    outputs = shapes(encoder.get_outputs())
    assert list(outputs) == ["encoder_out", "encoder_out_lens"]
    assert outputs["encoder_out"][2] == 14
    assert encoder.get_modelmeta().custom_metadata_map["model_type"] == "zipformer2"
