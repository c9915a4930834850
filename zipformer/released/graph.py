"""Weights of a streaming encoder in ONNX: many languages are published in no other form.

A graph keeps the names of biases, convolutions and scales. What the exporter computes with before
it writes has lost its name, and is known by the place where the graph takes it:

- The matrix of a linear layer, transposed, by the bias that is added behind it. The one without a
  bias belongs to the positions, and comes behind the projection of queries and keys.
- The two edges of a chunkwise convolution, by the module that they are in.
- The weights of a downsampling, behind their softmax, by the stack that they come before.

Whatever else there is stays unknown, and is missed when parameters are counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper
from torch import Tensor

from zipformer.released.reading import PublishedFile

STREAMING = "zipformer2"  # the type in a graph of this network that has a state
OTHERS = {"zipformer": "the first Zipformer", "lstm": "an LSTM", "conformer": "a Conformer"}
SETTINGS = {  # in the metadata of a graph -> as a training stores it
    "num_encoder_layers": "num_encoder_layers",
    "encoder_dims": "encoder_dim",
    "cnn_module_kernels": "cnn_module_kernel",
    "query_head_dims": "query_head_dim",
    "value_head_dims": "value_head_dim",
    "num_heads": "num_heads",
}
# Projections for the joiner lie in the graphs of what they project.
IN_THE_JOINER = re.compile(r"^(encoder_proj|decoder_proj|output_linear)\.")
# What the parameters of its modules are called.
NAMED = {"weight", "bias", "bypass_scale", "log_scale", "chunkwise_conv_scale"}
ATTENTION = ".self_attn_weights.in_proj"
CONVOLUTION = re.compile(r"(\.conv_module[12])\.in_proj$")
LAYER = re.compile(r"^(encoder\.encoders\.\d+)\.(?:encoder\.)?layers\.\d+\.")
Arrays = dict[str, np.ndarray]


def read_graphs(paths: Mapping[str, Path]) -> PublishedFile:
    """Reads the weights of a streaming model back from its graphs.

    Args:
        paths: ``encoder``, which may end with a CTC head; else ``decoder`` and ``joiner`` as well.

    Returns:
        The weights under published names, and the sizes in the metadata as settings.

    Raises:
        ValueError: If a graph is damaged, has other weights than float32, or is of something else.
    """
    weights: dict[str, Tensor] = {}
    for part, path in paths.items():
        model = _load(path)
        if part == "encoder":
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            _check_kind(path, metadata)
        try:
            found = _recovered(model.graph) if part == "encoder" else _named(model.graph)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        for name, value in found.items():
            weights[IN_THE_JOINER.sub(r"joiner.\1.", name)] = torch.from_numpy(value.copy())
    settings = {ours: metadata[key] for key, ours in SETTINGS.items() if key in metadata}
    return PublishedFile(paths["encoder"], {"model": weights, **settings})


def _load(path: Path) -> ModelProto:
    try:
        model = onnx.load(path)
    except Exception as error:  # what the parser raises depends on where the file ends
        raise ValueError(
            f"{path} is damaged, or no graph: {error}. If it was downloaded, the download may not "
            "have finished"
        ) from None
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    if kinds - {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}:
        listed = ", ".join(sorted(onnx.TensorProto.DataType.Name(kind) for kind in kinds))
        raise ValueError(
            f"{path} has weights of type {listed}: take the graph in float32, whose name is "
            "without int8 and fp16"
        )
    return model


def _check_kind(path: Path, metadata: Mapping[str, str]) -> None:
    kind = metadata.get("model_type", "")
    if kind != STREAMING or "decode_chunk_len" not in metadata:
        what = OTHERS.get(kind, f"of type {kind}" if kind else "of no type")
        raise ValueError(
            f"{path} is {what}: only graphs of streaming Zipformers (model_type {STREAMING}, with "
            "decode_chunk_len) can be taken; else take the weights that it was exported from"
        )


def _named(graph: GraphProto) -> Arrays:
    """Constants of floats by name; the names of parameters are those of the modules.

    Of equal constants an exporter keeps one, and gives its value to the others by Identity.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return {name: value for name, value in constants.items() if value.dtype == np.float32}


def _recovered(graph: GraphProto) -> Arrays:
    """All parameters of an encoder: those with names, and those that are known by their place."""
    recovery = _Recovery(graph)
    for node in graph.node:
        if node.op_type != "Identity":
            for name in node.input:
                if name in recovery.constants:
                    recovery.take(node, name)
    return recovery.finish()


class _Recovery:
    """The parameters of an encoder, as the uses of its constants pass by in their order."""

    def __init__(self, graph: GraphProto) -> None:
        self.constants = _named(graph)
        self.weights = {n: value for n, value in self.constants.items() if _is_parameter(n)}
        self._edges: dict[str, list[np.ndarray]] = defaultdict(list)
        self._rates: list[np.ndarray] = []  # of a downsampling, until a layer of its stack comes
        self._module = ""  # the linear layer that was met last
        self._biases: dict[str, str] = {}  # what is added to a product, by the product's name
        for node in graph.node:
            if node.op_type == "Add":
                for name in filter(_is_bias, node.input):
                    self._biases |= dict.fromkeys(node.input, name)

    def take(self, node: NodeProto, name: str) -> None:
        """Learns from one use of a constant.

        Raises:
            ValueError: If no streaming Zipformer takes one there.
        """
        value = self.constants[name]
        if node.op_type == "Add" and _is_bias(name):
            self._module = name.removesuffix(".bias")
            if self._rates and (layer := LAYER.match(name)):
                self.weights[f"{layer[1]}.downsample.bias"] = self._rates.pop()
        elif _is_parameter(name):
            return
        elif node.op_type == "MatMul" and value.ndim == 2:
            self.weights[self._linear(node.output[0])] = value.T
        elif node.op_type in ("Slice", "Concat") and CONVOLUTION.search(self._module):
            convolution = CONVOLUTION.sub(r"\1.depthwise_conv", self._module)
            self._edges[f"{convolution}.chunkwise_conv_scale"].append(value)
        elif node.op_type == "Mul" and value.ndim == 3 and value.shape[1:] == (1, 1):
            self._rates.append(np.log(value.reshape(-1)))

    def finish(self) -> Arrays:
        """All of them, under published names.

        Raises:
            ValueError: If a convolution has not the edges of a streaming one.
        """
        if self._rates:
            self.weights["encoder.downsample_output.bias"] = self._rates.pop()
        for name, pair in self._edges.items():
            if len(pair) != 2 or pair[0].shape != pair[1].shape:
                raise ValueError(f"{name} has {len(pair)} edges in the graph, not two of one shape")
            self.weights[name] = np.stack(pair)
        return self.weights

    def _linear(self, product: str) -> str:
        """The parameter that a matrix is: by the bias that is added, or that of the positions."""
        if product in self._biases:
            return self._biases[product].removesuffix("bias") + "weight"
        positions = self._module.removesuffix("in_proj") + "linear_pos.weight"
        if not self._module.endswith(ATTENTION) or positions in self.weights:
            raise ValueError(f"behind {self._module} comes a linear layer that no Zipformer has")
        return positions


def _is_bias(name: str) -> bool:
    return _is_parameter(name) and name.endswith(".bias")


def _is_parameter(name: str) -> bool:
    """Whether a name is that of a module's parameter, not one that an exporter gave."""
    return "::" not in name and name.rpartition(".")[2] in NAMED
