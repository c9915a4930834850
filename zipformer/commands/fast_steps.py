"""Recognizers for servers: which of the ways to compute a step is the fastest here."""

from __future__ import annotations

import logging

from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.export import OnnxSteps
from zipformer.export.onnx_file import require_onnx
from zipformer.search import Search
from zipformer.streaming import Recognizer, WholeRecognizer, trace
from zipformer.streaming.packed_step import Prepare

logger = logging.getLogger(__name__)


def fast_steps(loaded: LoadedModel, threads: int = 0, int8: bool = False) -> Prepare | None:
    """How to prepare steps: on a CPU for onnxruntime, without that package as a fixed graph.

    Args:
        loaded: Where it is decides.
        threads: Of a step in onnxruntime; 0 is as many as there are cores.
        int8: Weights of 8 bits.

    Raises:
        ValueError: If 8 bits are asked for where there is no onnxruntime.
    """
    if loaded.device.type != "cpu":
        if int8:
            raise ValueError(f"8-bit steps are for a CPU, and the model is on {loaded.device}")
        return None
    try:
        require_onnx()
    except ImportError as error:
        if int8:
            raise ValueError(f"8-bit steps: {error}") from None
        logger.warning("steps are slower without onnxruntime: %s", error)
        return trace
    return OnnxSteps(threads, int8)


def fast_recognizer(
    loaded: LoadedModel,
    context: Context,
    search: Search | None = None,
    threads: int = 0,
    int8: bool = False,
) -> Recognizer:
    """A recognizer that takes some seconds to get ready; full context is heard as a whole.

    Arguments and errors as above and in ``Recognizer.of``.
    """
    if context.is_full:
        return WholeRecognizer.of(loaded, context, search)
    return Recognizer.of(loaded, context, search, fast_steps(loaded, threads, int8))
