"""Rewrites an exported graph so that a step computes nothing but the network.

A traced graph asks tensors for their shapes and computes with the answers again in every step,
although only the number of streams can change. Here what depends on shapes alone becomes constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, MutableSequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

BATCH_SIZES = (2, 3)  # of the runs that tell what depends on the number of streams
LINEAR_FROM = 20.0  # where softplus(x) = x in float32

Item = TypeVar("Item")


def fold_geometry(model: ModelProto) -> ModelProto:
    """Makes constant what follows from the shapes of tensors.

    Args:
        model: All inputs have one axis that varies, the batch, and so has every tensor at most.

    Returns:
        The same network. Reshapes find the batch themselves, by -1; slices and paddings that
        change nothing are gone.
    """
    constant, geometry = _without_data(model)
    nodes = [n for n in model.graph.node if n.output[0] not in constant | geometry]
    reshapes = [n for n in nodes if n.op_type == "Reshape" and n.input[1] in geometry]
    cuts = [n for n in nodes if n.op_type in ("Slice", "Pad")]
    wanted = {i for n in nodes for i in n.input if i in geometry}
    wanted |= {n.output[0] for n in reshapes} | {t for n in cuts for t in (n.input[0], n.output[0])}
    if not wanted:
        return model
    few, many = _values(model, wanted)

    constants = _Constants(model, "geometry")
    for node in nodes:
        for i, name in enumerate(node.input):
            if name in geometry and np.array_equal(few[name], many[name]):
                node.input[i] = constants.add(few[name])
    for node in reshapes:
        sizes = zip(few[node.output[0]].shape, many[node.output[0]].shape, strict=True)
        target = [a if a == b else -1 for a, b in sizes]
        if target.count(-1) <= 1:
            node.input[1] = constants.add(np.array(target, dtype=np.int64))
    _skip(model, {n.output[0]: n.input[0] for n in cuts if _is_idle(n, few, many)})
    return _prune(model)


def replace_softplus(model: ModelProto) -> ModelProto:
    """Writes softplus as max(x, log(1 + exp(min(x, 20)))), which onnxruntime computes faster."""
    constants = _Constants(model, "softplus")
    one, limit = (constants.add(np.array(v, dtype=np.float32)) for v in (1.0, LINEAR_FROM))
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Softplus":
            nodes.append(node)
            continue
        x, y = node.input[0], node.output[0]
        for op, *inputs in (
            ("Min", x, limit),
            ("Exp", f"{y}/Min"),
            ("Add", f"{y}/Exp", one),
            ("Log", f"{y}/Add"),
        ):
            nodes.append(helper.make_node(op, inputs, [f"{y}/{op}"], name=f"{y}/{op}"))
        nodes.append(helper.make_node("Max", [x, f"{y}/Log"], [y], name=f"{y}/Max"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def fold_constants(model: ModelProto) -> ModelProto:
    """Lets onnxruntime compute what is constant, and drop and merge what is needless.

    Returns:
        A model of standard operators only, that any runtime can read.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options = session_options(1)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        _session(model, options)
        folded = onnx.load(path)
    domains = {node.domain for node in folded.graph.node}
    assert domains == {""}, f"not only standard operators: {domains}"
    kept = [o for o in folded.opset_import if o.domain in domains]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    return folded


def halve(model: ModelProto) -> ModelProto:
    """Weights and arithmetic in half precision; inputs, outputs and metadata as they were."""
    with warnings.catch_warnings():  # of weights that are too small to be told from zero there
        warnings.simplefilter("ignore")
        halved: ModelProto = convert_float_to_float16(model, keep_io_types=True)
    _put_in_order(halved)
    onnx.checker.check_model(halved)
    return halved


def session_options(num_threads: int) -> onnxruntime.SessionOptions:
    """Options of a session on so many threads, that logs errors only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _session(
    model: ModelProto, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _without_data(model: ModelProto) -> tuple[set[str], set[str]]:
    """Names of the tensors that are constant, and of those that depend on shapes alone."""
    constant = {tensor.name for tensor in model.graph.initializer} | {""}
    geometry: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Shape":
            geometry |= set(node.output)
        elif constant.issuperset(node.input):
            constant |= set(node.output)
        elif (constant | geometry).issuperset(node.input):
            geometry |= set(node.output)
    return constant, geometry


def _values(model: ModelProto, names: set[str]) -> list[dict[str, np.ndarray]]:
    """The tensors of those names at each of the batch sizes; all inputs are zeros."""
    probe = ModelProto()
    probe.CopyFrom(model)
    fed = {tensor.name for tensor in (*model.graph.input, *model.graph.initializer)}
    outputs = sorted(names - fed)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(probe, options)
    found = []
    for size in BATCH_SIZES:
        feed = {i.name: _zeros(i, size) for i in session.get_inputs()}
        found.append(feed | dict(zip(outputs, session.run(outputs, feed), strict=True)))
    return found


def _zeros(tensor: onnxruntime.NodeArg, batch_size: int) -> np.ndarray:
    shape = [size if isinstance(size, int) else batch_size for size in tensor.shape]
    return np.zeros(shape, np.int64 if tensor.type == "tensor(int64)" else np.float32)


def _is_idle(node: NodeProto, *values: dict[str, np.ndarray]) -> bool:
    """Whether a slice (of data: none goes backwards) or padding keeps the shape, and so all."""
    before, after = node.input[0], node.output[0]
    return all(before in v and v[before].shape == v[after].shape for v in values)


def _skip(model: ModelProto, instead: dict[str, str]) -> None:
    """Lets readers of some tensors read others; outputs of the graph keep their names."""
    outputs = {tensor.name for tensor in model.graph.output}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            while name in instead and name not in outputs:
                name = instead[name]
            node.input[i] = name


def _put_in_order(model: ModelProto) -> None:
    """Moves every node behind those that it reads; of several that make one tensor, one stays.

    The conversion to half precision appends what it adds, and adds it for every reader anew.
    """
    makers: dict[str, NodeProto] = {}
    for node in model.graph.node:
        for name in node.output:
            makers.setdefault(name, node)
    ordered: dict[str, NodeProto] = {}

    def place(node: NodeProto) -> None:
        if node.output[0] in ordered:
            return
        for name in node.input:
            if name in makers:
                place(makers[name])
        ordered[node.output[0]] = node

    for node in model.graph.node:  # which are nearly in order, so that this does not go deep
        place(makers[node.output[0]])
    _keep(model.graph.node, ordered.values())


def _prune(model: ModelProto) -> ModelProto:
    """Removes what no output depends on."""
    graph = model.graph
    used = {tensor.name for tensor in graph.output}
    kept = list[NodeProto]()
    for node in reversed(graph.node):
        if any(name in used for name in node.output):
            kept.append(node)
            used |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    _keep(graph.initializer, (t for t in graph.initializer if t.name in used))
    return model


def _keep(container: MutableSequence[Item], items: Iterable[Item]) -> None:
    kept = list(items)
    del container[:]
    container.extend(kept)


class _Constants:
    """New constants of a graph, each value once."""

    def __init__(self, model: ModelProto, prefix: str) -> None:
        self._initializers = model.graph.initializer
        self._prefix = prefix
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, value: np.ndarray) -> str:
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._names:
            self._names[key] = f"{self._prefix}/{len(self._names)}"
            self._initializers.append(numpy_helper.from_array(value, self._names[key]))
        return self._names[key]
