"""The encoder gives the numbers of the published implementation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import ENCODER
from torch import Tensor

from zipformer import Context, Encoder, ZipformerConfig, load_icefall

pytestmark = pytest.mark.parity


def golden_config(causal: bool) -> ZipformerConfig:
    return ZipformerConfig(
        downsampling=(1, 2, 4, 8, 4, 2),
        num_layers=(1, 2, 1, 1, 1, 1),
        dims=(32, 48, 64, 80, 64, 48),
        unmasked_dims=(32,) * 6,
        query_head_dim=(8,) * 6,
        pos_head_dim=(4,) * 6,
        value_head_dim=(6,) * 6,
        num_heads=(2, 2, 2, 4, 2, 2),
        feedforward_dims=(48, 64, 96, 112, 96, 64),
        kernels=(31, 31, 15, 15, 15, 31),
        pos_dim=24,
        causal=causal,
    )


def load(golden: Path, causal: bool) -> tuple[Encoder, dict[str, Tensor]]:
    name = "encoder_causal" if causal else "encoder_noncausal"
    data = load_file(golden / f"{name}.safetensors")
    params = {k.removeprefix("param."): v for k, v in data.items() if k.startswith("param.")}
    encoder = load_icefall(params, Encoder(golden_config(causal))).eval()
    return encoder, {k.removeprefix("io."): v for k, v in data.items() if k.startswith("io.")}


def assert_valid_close(out: Tensor, wanted: Tensor, lengths: Tensor) -> None:
    assert out.shape == wanted.shape
    for i, n in enumerate(lengths.tolist()):
        assert (out[i, :n] - wanted[i, :n]).abs().max() <= ENCODER


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "noncausal"])
@torch.no_grad()
def test_full_context(golden: Path, causal: bool) -> None:
    encoder, io = load(golden, causal)
    embed, _ = encoder.frontend(io["features"], io["feature_lens"])
    assert_valid_close(embed, io["embed"], io["embed_lens"])
    out, lengths = encoder(io["features"], io["feature_lens"])
    assert lengths.tolist() == io["full.out_lens"].tolist()
    assert_valid_close(out, io["full.out"], lengths)


CHUNKS = [(16, -1), (16, 128), (16, 64), (32, 256), (32, 64), (64, 128)]


@pytest.mark.parametrize("mode", ["windowed", "masked"])
@pytest.mark.parametrize("chunk,left", CHUNKS)
@torch.no_grad()
def test_chunked_without_right_context(golden: Path, chunk: int, left: int, mode: str) -> None:
    encoder, io = load(golden, causal=True)
    context = Context(2 * chunk, 2 * left if left > 0 else -1)
    out, lengths = encoder(io["features"], io["feature_lens"], context, mode)
    assert_valid_close(out, io[f"chunk{chunk}_left{left}.out"], lengths)


@pytest.mark.parametrize("chunk,left,right", [(16, 64, 16), (32, 128, 64)])
@torch.no_grad()
def test_masked_right_context(golden: Path, chunk: int, left: int, right: int) -> None:
    encoder, io = load(golden, causal=True)
    context = Context(2 * chunk, 2 * left, 2 * right)
    out, lengths = encoder(io["features"], io["feature_lens"], context, "masked")
    assert_valid_close(out, io[f"masked_chunk{chunk}_left{left}_right{right}.out"], lengths)


@pytest.mark.parametrize("chunk,left,right", [(16, 64, 16), (16, 64, 32), (32, 128, 64)])
@torch.no_grad()
def test_windowed_right_context(golden: Path, chunk: int, left: int, right: int) -> None:
    encoder, io = load(golden, causal=True)
    context = Context(2 * chunk, 2 * left, 2 * right)
    out, _ = encoder(io["features"], io["feature_lens"], context, "windowed")
    wanted = io[f"window_chunk{chunk}_left{left}_right{right}.out"]
    assert (out[:1, : wanted.shape[1]] - wanted).abs().max() <= ENCODER


@pytest.mark.parametrize("chunk,left", [(16, 64), (32, 128)])
@torch.no_grad()
def test_stream(golden: Path, chunk: int, left: int) -> None:
    encoder, io = load(golden, causal=True)
    context = Context(2 * chunk, 2 * left)
    wanted = io[f"stream_chunk{chunk}_left{left}.out"]
    features = io["features"][:1, : int(io["feature_lens"][0])]
    state = encoder.initial_state(1, context)
    outs, start = [], 0
    while start + context.chunk + 13 <= features.shape[1]:
        out, state = encoder.step(features[:, start : start + context.chunk + 13], state, context)
        outs.append(out)
        start += context.chunk
    out = torch.cat(outs, dim=1)
    num = min(out.shape[1], wanted.shape[1])
    assert num >= wanted.shape[1] - context.chunk // 4
    assert (out[:, :num] - wanted[:, :num]).abs().max() <= ENCODER
