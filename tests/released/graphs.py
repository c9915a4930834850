"""The graphs of the reference model, and what can be made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from released.official import OFFICIAL, weights

GRAPHS = OFFICIAL / "graphs"
TOKENS = OFFICIAL / "streaming" / "tokens.txt"


def encoder() -> ModelProto:
    return onnx.load(GRAPHS / "encoder.onnx")


def with_different_values(model: ModelProto) -> ModelProto:
    """Scales and rates of their own everywhere: those of the reference are all alike."""
    rng = np.random.default_rng(0)
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    copies = [n for n in graph.node if n.op_type == "Identity" and n.input[0] in values]
    for node in copies:
        graph.node.remove(node)
        value = values[node.input[0]]
        if "Slice" in node.output[0] or "scale" in node.output[0]:
            value = value + rng.uniform(-0.3, 0.3, value.shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    for tensor in graph.initializer:
        if list(tensor.dims[1:]) == [1, 1]:
            rates = rng.dirichlet(np.ones(tensor.dims[0])).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rates.reshape(-1, 1, 1), tensor.name))
    return model


def with_ctc(model: ModelProto) -> ModelProto:
    """The encoder with the CTC head of the reference in the place of the projection."""
    graph, head = model.graph, weights()
    add = next(node for node in graph.node if "encoder_proj.bias" in node.input)
    product = next(node for node in graph.node if node.output[0] in add.input)
    matrix = product.input[1]
    for tensor in graph.initializer:
        if tensor.name == matrix:
            value = head["ctc_output.1.weight"].numpy().T.copy()
            tensor.CopyFrom(numpy_helper.from_array(value, matrix))
        elif tensor.name == "encoder_proj.bias":
            value = head["ctc_output.1.bias"].numpy()
            tensor.CopyFrom(numpy_helper.from_array(value, "ctc_output.1.bias"))
    inputs = [name.replace("encoder_proj.", "ctc_output.1.") for name in add.input]
    add.input[:] = inputs
    add.output[0] = "logits"
    out = graph.output[0].name
    graph.node.append(helper.make_node("LogSoftmax", ["logits"], [out], axis=-1))
    graph.output[0].CopyFrom(helper.make_tensor_value_info(out, TensorProto.FLOAT, None))
    return model


def with_metadata(model: ModelProto, **values: str) -> ModelProto:
    """Other entries; an empty value takes one away."""
    kept = {entry.key: entry.value for entry in model.metadata_props} | values
    del model.metadata_props[:]
    helper.set_model_props(model, {key: value for key, value in kept.items() if value})
    return model


def save(model: ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
