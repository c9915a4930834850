"""Weights come back from the graphs of a streaming model, and from nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper

pytest.importorskip("onnxruntime")
from released.graphs import (
    GRAPHS,
    TOKENS,
    encoder,
    save,
    with_ctc,
    with_different_values,
    with_metadata,
)
from released.official import weights

from zipformer.released.names import rename_published
from zipformer.released.places import choose_weights, graphs_with
from zipformer.released.source import read_released


def test_a_graph_gives_back_what_it_was_exported_from() -> None:
    found = read_released(str(GRAPHS)).weights
    wanted, _ = rename_published(weights())
    lost = {name for name in wanted if name.startswith(("ctc_output.", "simple_"))}
    assert {name for name in found if not name.startswith("simple_")} == wanted.keys() - lost
    for name in wanted.keys() - lost:
        values = [found[name], wanted[name]]
        if "downsample" in name:  # a constant added to all of them is lost in the softmax
            values = [value.softmax(0) for value in values]
        torch.testing.assert_close(*values, atol=1e-6, rtol=1e-6, msg=name)


def test_every_value_has_its_place(tmp_path: Path) -> None:
    """The graph itself says so: both compute the same."""
    for part in ("decoder", "joiner"):
        shutil.copyfile(GRAPHS / f"{part}.onnx", tmp_path / f"{part}.onnx")
    path = save(with_different_values(encoder()), tmp_path / "encoder.onnx")
    released = read_released(str(path), TOKENS)
    (note,) = [note for note in released.notes if "agree" in note]
    assert "6 steps at 32/128/0" in note
    edges = [v for name, v in released.weights.items() if name.endswith("conv_scale")]
    assert not torch.equal(edges[0][0], edges[0][1])


def test_a_graph_with_ctc_is_alone(tmp_path: Path) -> None:
    released = read_released(str(save(with_ctc(encoder()), tmp_path / "ctc-x.onnx")), TOKENS)
    assert released.architecture.model.heads == ("ctc",)
    head = released.weights["ctc_output.1.weight"]
    torch.testing.assert_close(head, weights()["ctc_output.1.weight"])


def in_half_precision(model: ModelProto) -> ModelProto:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return model


def with_another_function(model: ModelProto) -> ModelProto:
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Sigmoid"
    return model


def with_a_layer_without_name(model: ModelProto) -> ModelProto:
    add = next(n for n in model.graph.node if any(".feed_forward1.in_proj." in i for i in n.input))
    add.op_type = "Sub"
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_half_precision, "weights of type FLOAT16.*take the graph in float32"),
        (with_another_function, "computes something else than a Zipformer with its weights"),
        (with_a_layer_without_name, "comes a linear layer that no Zipformer has"),
        (lambda m: with_metadata(m, model_type="zipformer"), "is the first Zipformer: only"),
        (lambda m: with_metadata(m, model_type="lstm"), "is an LSTM: only"),
        (lambda m: with_metadata(m, decode_chunk_len=""), "only graphs of streaming Zipformers"),
        (lambda m: with_metadata(m, num_heads="2,1,2,4,2,2"), "stores num_heads = 2,1,2,4,2,2"),
    ],
)
def test_other_graphs_are_refused(
    tmp_path: Path, change: Callable[[ModelProto], ModelProto], message: str
) -> None:
    path = save(change(with_ctc(encoder())), tmp_path / "ctc.onnx")
    with pytest.raises(ValueError, match=message):
        read_released(str(path), TOKENS)


def test_half_a_download_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ctc.onnx"
    path.write_bytes((GRAPHS / "encoder.onnx").read_bytes()[:100_000])
    with pytest.raises(ValueError, match="damaged, or no graph: .*the download may not"):
        read_released(str(path), TOKENS)


STORED = [
    "README.md",
    "bpe.model",
    "decoder-epoch-99-avg-1-chunk-16-left-128.onnx",
    "encoder-epoch-99-avg-1-chunk-16-left-128.int8.onnx",
    "encoder-epoch-99-avg-1-chunk-16-left-128.onnx",
    "joiner-epoch-99-avg-1-chunk-16-left-128.int8.onnx",
    "joiner-epoch-99-avg-1-chunk-16-left-128.onnx",
    "tokens.txt",
]


def test_graphs_are_found_by_their_names() -> None:
    chosen = choose_weights(STORED)
    assert chosen == "encoder-epoch-99-avg-1-chunk-16-left-128.onnx"
    parts = graphs_with(chosen, STORED)
    assert parts["joiner"] == "joiner-epoch-99-avg-1-chunk-16-left-128.onnx"
    assert choose_weights([*STORED, "exp/pretrained.pt"]) == "exp/pretrained.pt"
    assert graphs_with("a/ctc-x.onnx", ["a/ctc-x.onnx"]) == {"encoder": "a/ctc-x.onnx"}
    other_name = graphs_with("encoder-a.onnx", ["encoder-a.onnx", "decoder.onnx", "joiner.onnx"])
    assert other_name["decoder"] == "decoder.onnx"
    with pytest.raises(ValueError, match=r"lies no joiner-a\.onnx$"):
        graphs_with("encoder-a.onnx", ["decoder-a.onnx"])
    with pytest.raises(ValueError, match=r"which of decoder-b\.onnx, decoder-c\.onnx"):
        graphs_with("encoder-a.onnx", ["decoder-b.onnx", "decoder-c.onnx"])
