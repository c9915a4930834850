"""One network as an ONNX file: traced, simplified, with its metadata, and in 8 bits if wanted."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from zipformer import ops
from zipformer.files import replacing

OPSET = 17
NEEDED = ("onnx", "onnxruntime")
Axes = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class Network:
    """What becomes one file.

    Args:
        module: On the CPU, in evaluation mode.
        example: Inputs to trace with; the batch must not be 1.
        inputs: Names in order, and of each the axes that vary, with their names.
        outputs: The same of the outputs.
        batch_only: Whether the batch is the only axis that varies.
        metadata: Kept in the file.
        quantized: Operators that get 8-bit weights in the smaller file.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Axes
    outputs: Axes
    batch_only: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    quantized: Sequence[str] = ("MatMul",)


def require_onnx() -> None:
    """Refuses to go on without the packages that write and run ONNX files.

    Raises:
        ImportError: Naming what is missing and how to install it.
    """
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"export to ONNX needs the package {name} ({error}); "
                "install it with: pip install -e '.[export]' in this project's folder"
            ) from error


def int8_path(path: Path) -> Path:
    """Where the 8-bit form of a file lies: ``encoder.onnx`` -> ``encoder.int8.onnx``."""
    return path.with_suffix(f".int8{path.suffix}")


def write(network: Network, path: Path, int8: bool) -> None:
    """Writes a network; each file appears whole or not at all.

    Args:
        network: What to write.
        path: Where to.
        int8: Writes ``int8_path(path)`` as well; an old one is removed if not.
    """
    import onnx

    from zipformer.export import graph

    with replacing(path) as temporary:
        _trace(network, temporary)
        model = onnx.load(temporary)
        if network.batch_only:
            model = graph.fold_geometry(model)
        model = graph.fold_constants(graph.replace_softplus(model))
        model.producer_name = "zipformer"
        onnx.helper.set_model_props(model, dict(network.metadata))
        onnx.checker.check_model(model)
        onnx.save(model, temporary)
    int8_path(path).unlink(missing_ok=True)
    if int8:
        with replacing(int8_path(path)) as temporary:
            _quantize(path, temporary, network.quantized)


def _trace(network: Network, path: Path) -> None:
    """Writes what torch makes of the network."""
    axes = {**network.inputs, **network.outputs}
    with warnings.catch_warnings(), torch.no_grad(), ops.use("reference"):
        # The tracer warns of every shape that Python looks at: these are the ones that are fixed.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.module,
            network.example,
            str(path),
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            dynamic_axes={name: dict(varying) for name, varying in axes.items() if varying},
            opset_version=OPSET,
            dynamo=False,
        )


def _quantize(path: Path, target: Path, operators: Sequence[str]) -> None:
    """Weights in 8 bits, one scale per channel; activations are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the advice to optimise the graph first, which is done
    try:
        quantize_dynamic(
            path,
            target,
            op_types_to_quantize=list(operators),
            nodes_to_exclude=_position_products(path),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(before)


def _position_products(path: Path) -> list[str]:
    """Products with encodings of positions: small, and no weights but values of a network."""
    import onnx

    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul"
        and node.input[1] in constants
        and len(constants[node.input[1]].dims) != 2
    ]
