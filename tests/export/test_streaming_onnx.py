"""A streaming export computes what ``Encoder.step`` computes, in the form that sherpa reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from export.small_export import TOKENS, expressive_transducer, run, session, shapes
from tolerances import ENCODER, ROUNDING

from zipformer import Context
from zipformer.export import Options, export_streaming, states
from zipformer.export.runtime import OnnxModel
from zipformer.nn.state import EncoderState

CONTEXTS = [Context(32, 128, 64), Context(64, 128, 0)]
ABOUT = {"model": "epoch9-avg3 of x", "T": "not yours"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Context, Path]:
    made = {context: tmp_path_factory.mktemp(f"export-{context.slug}") for context in CONTEXTS}
    for context, folder in made.items():
        export_streaming(expressive_transducer(), TOKENS, context, folder, Options(about=ABOUT))
    return made


@pytest.fixture(params=CONTEXTS, ids=str)
def context(request: pytest.FixtureRequest) -> Context:
    return request.param


@pytest.fixture
def folder(folders: dict[Context, Path], context: Context) -> Path:
    return folders[context]


@pytest.mark.parametrize("batch_size", [1, 3])
@torch.no_grad()
def test_each_step_equals_the_models_own(folder: Path, context: Context, batch_size: int) -> None:
    model, onnx = expressive_transducer(), session(folder / "encoder.onnx")
    state = model.encoder.initial_state(batch_size, context)
    tensors = [torch.zeros_like(t) for t in states.to_list(state)]
    for _ in range(6):
        x = torch.randn(batch_size, context.window + 13, 80)
        out, state = model.encoder.step(x, state, context)
        onnx_out, *tensors = run(onnx, x, *tensors)
        assert out.std() > 0.1
        torch.testing.assert_close(
            onnx_out, model.joiner.encoder_proj(out), atol=ENCODER, rtol=ROUNDING
        )
        for wanted, found in zip(states.to_list(state), tensors, strict=True):
            torch.testing.assert_close(found, wanted, atol=ENCODER, rtol=ROUNDING)


@torch.no_grad()
def test_all_steps_together_equal_the_windowed_pass(folder: Path, context: Context) -> None:
    model, onnx = expressive_transducer(), OnnxModel(folder)
    x = torch.randn(2, context.window + 13 + 5 * context.chunk, 80)
    out, _ = model.encoder(x, torch.tensor([x.shape[1]] * 2), context)
    state, outputs = onnx.encoder.initial_state(2), []
    for start in range(0, 6 * context.chunk, context.chunk):
        y, state = onnx.encoder.step(x[:, start : start + context.window + 13], state)
        outputs.append(y)
    found = torch.cat(outputs, dim=1)
    wanted = model.joiner.encoder_proj(out)[:, : found.shape[1]]
    torch.testing.assert_close(found, wanted, atol=ENCODER, rtol=ROUNDING)


def test_streams_of_different_age_share_a_batch(folder: Path, context: Context) -> None:
    encoder = OnnxModel(folder).encoder
    x = torch.randn(5, 3, context.window + 13, 80)
    alone = []
    for stream, steps in enumerate((4, 1, 0)):
        state = encoder.initial_state(1)
        for step in range(steps):
            _, state = encoder.step(x[step, stream : stream + 1], state)
        alone.append((state, *encoder.step(x[4, stream : stream + 1], state)))
    before, outputs, after = zip(*alone, strict=True)
    out, state = encoder.step(x[4], EncoderState.cat(before))
    torch.testing.assert_close(out, torch.cat(outputs), atol=ROUNDING, rtol=ROUNDING)
    assert state.processed.tolist() == [n * context.chunk // 2 for n in (5, 2, 1)]
    torch.testing.assert_close(state.pack(), EncoderState.cat(after).pack())


def test_predictor_and_joiner_equal_the_models_own(folder: Path) -> None:
    model = expressive_transducer()
    y = torch.tensor([[-1, 0], [0, 3], [10, 10], [5, -1]])
    with torch.no_grad():
        predicted = model.joiner.decoder_proj(model.predictor(y, pad=False)).squeeze(1)
        frames = torch.randn(4, 14)
        logits = model.joiner(frames, predicted, project=False)
    (found,) = run(session(folder / "decoder.onnx"), y)
    torch.testing.assert_close(found, predicted, atol=ROUNDING, rtol=ROUNDING)
    (found,) = run(session(folder / "joiner.onnx"), frames, predicted)
    torch.testing.assert_close(found, logits, atol=ROUNDING, rtol=ROUNDING)


def test_what_lies_in_the_spare_channels_of_the_frontend_changes_nothing(
    folder: Path, context: Context
) -> None:
    onnx = session(folder / "encoder.onnx")
    model = expressive_transducer()
    tensors = [t.clone() for t in states.to_list(model.encoder.initial_state(2, context))]
    x = torch.randn(2, context.window + 13, 80)
    clean = run(onnx, x, *tensors)
    tensors[-2][:, 16:] = 7.0
    for a, b in zip(clean, run(onnx, x, *tensors), strict=True):
        assert torch.equal(a, b)
    assert not clean[-2][:, 16:].any() and clean[-2][:, :16].any()


def test_the_encoder_takes_and_gives_what_sherpa_expects(folders: dict[Context, Path]) -> None:
    onnx = session(folders[Context(32, 128, 64)] / "encoder.onnx")
    inputs, outputs = shapes(onnx.get_inputs()), shapes(onnx.get_outputs())
    names = ["key", "nonlin_attn", "val1", "val2", "conv1", "conv2"]
    caches = [f"cached_{name}_{i}" for i in range(7) for name in names]
    assert list(inputs) == ["x", *caches, "embed_states", "processed_lens"]
    assert list(outputs) == ["encoder_out", *(f"new_{name}" for name in list(inputs)[1:])]
    assert inputs["x"] == ["N", 32 + 64 + 13, 80]
    assert outputs["encoder_out"] == ["N", 8, 14]
    # The second stack: left 128 / 2 / 2, D 24, 2 heads of 8 and 6, kernel 31.
    wanted = [[32, "N", 16], [1, "N", 32, 18], [32, "N", 12], [32, "N", 12], ["N", 24, 15]]
    for layer in (1, 2):
        assert [inputs[f"cached_{name}_{layer}"] for name in names] == [*wanted, ["N", 24, 15]]
    assert inputs["cached_key_4"] == [8, "N", 32]  # the fourth stack: ds 8, 4 heads of 8
    assert inputs["cached_conv2_4"] == ["N", 40, 7]
    assert inputs["embed_states"] == ["N", 128, 3, 19] and inputs["processed_lens"] == ["N"]
    assert {name: outputs[f"new_{name}"] for name in list(inputs)[1:]} == {
        name: shape for name, shape in inputs.items() if name != "x"
    }


def test_metadata_says_what_sherpa_reads(folders: dict[Context, Path]) -> None:
    folder = folders[Context(32, 128, 64)]
    metadata = session(folder / "encoder.onnx").get_modelmeta().custom_metadata_map
    wanted = {
        "model_type": "zipformer2",
        "decode_chunk_len": "32",
        "T": "109",
        "num_encoder_layers": "1,2,1,1,1,1",
        "encoder_dims": "16,24,32,40,32,24",
        "cnn_module_kernels": "31,31,15,15,15,31",
        "left_context_len": "64,32,16,8,16,32",
        "query_head_dims": "8,8,8,8,8,8",
        "value_head_dims": "6,6,6,6,6,6",
        "num_heads": "2,2,2,4,2,2",
        "right_context_frames": "64",
        "model": "epoch9-avg3 of x",
    }
    assert {name: metadata[name] for name in wanted} == wanted
    decoder = session(folder / "decoder.onnx")
    assert decoder.get_modelmeta().custom_metadata_map == {"context_size": "2", "vocab_size": "11"}
    assert shapes(decoder.get_inputs()) == {"y": ["N", 2]}
    assert shapes(decoder.get_outputs()) == {"decoder_out": ["N", 14]}
    joiner = session(folder / "joiner.onnx")
    assert joiner.get_modelmeta().custom_metadata_map == {"joiner_dim": "14"}
    assert shapes(joiner.get_inputs()) == {"encoder_out": ["N", 14], "decoder_out": ["N", 14]}
    assert shapes(joiner.get_outputs()) == {"logit": ["N", 11]}
    assert (folder / "tokens.txt").read_text().splitlines()[:4] == [
        "<blk> 0",
        "<sos/eos> 1",
        "<unk> 2",
        "a 3",
    ]
