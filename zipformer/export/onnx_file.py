"""One network as an ONNX file: traced, simplified, with its metadata, and in smaller forms."""

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
from zipformer.export.options import Form
from zipformer.files import replacing

OPSET = 17
SUFFIXES: dict[Form, str] = {"float16": "fp16", "int8": "int8"}
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


def form_path(path: Path, form: Form) -> Path:
    """Where a form of a file lies: ``encoder.onnx`` -> ``encoder.int8.onnx``."""
    return path if form == "float32" else path.with_suffix(f".{SUFFIXES[form]}{path.suffix}")


def write(network: Network, path: Path, forms: Sequence[Form]) -> None:
    """Writes a network; each file appears whole or not at all.

    Args:
        network: What to write.
        path: Where to.
        forms: Which are wanted, float32 being always written; old files of the others are removed.
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
    for form in SUFFIXES:
        form_path(path, form).unlink(missing_ok=True)
    if "float16" in forms:
        with replacing(form_path(path, "float16")) as temporary:
            onnx.save(graph.halve(onnx.load(path)), temporary)
    if "int8" in forms:
        with replacing(form_path(path, "int8")) as temporary:
            _quantize(path, temporary, network.quantized)


def _trace(network: Network, path: Path) -> None:
    """Writes what torch makes of the network.

    By tracing: torch's newer exporter (``dynamo``), which writes such a step as well, takes about
    ten times as long for it and needs onnxscript.
    """
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
