"""The largest batches first: memory that will run out in an hour should run out now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from zipformer.config import ContextConfig
from zipformer.context import UNLIMITED, Context
from zipformer.nn.regularizers import load_whiten_probs, whiten_probs
from zipformer.nn.streaming_encoder import RightMode
from zipformer.training.metrics import peak_memory_mb
from zipformer.training.step import Updater
from zipformer.training.task import StepInfo

logger = logging.getLogger(__name__)


def scan(
    updater: Updater, batches: Sequence[Any], config: ContextConfig, full: bool = False
) -> None:
    """Computes loss and gradients of ``batches`` at the contexts that need most memory.

    Nothing of it stays: neither gradients nor buffers nor what regularizers remember. ``full`` adds
    the whole utterance to the contexts of the config.

    Raises:
        RuntimeError: If memory runs out in any process, naming a batch and the setting to lower.
    """
    model = updater.model
    remembered = whiten_probs(model), [buffer.clone() for buffer in model.buffers()]
    failure: RuntimeError | None = None
    try:
        for batch in batches:
            batch = batch.to(updater.precision.device)
            contexts = heaviest_contexts(config)
            if full:
                contexts.append((Context.full(), contexts[0][1]))
            for context, right_mode in contexts:
                updater.try_out(batch, StepInfo(0, context, right_mode))
    except RuntimeError as error:
        failure = error
    load_whiten_probs(model, remembered[0])
    for buffer, before in zip(model.buffers(), remembered[1], strict=True):
        buffer.copy_(before)
    (failed,) = updater.processes.any(failure is not None)
    if failed:
        raise failure or RuntimeError("memory ran out in another process; see its message")
    logger.info("the %d largest batches fit: %.0f MB at most", len(batches), peak_memory_mb())


def heaviest_contexts(config: ContextConfig) -> list[tuple[Context, RightMode]]:
    """Of a menu: the whole utterance, or else its largest chunk; and most windows per chunk."""
    modes: list[RightMode] = ["masked", "windowed"]
    if config.right_mode != "mixed":
        modes = [config.right_mode]
    left = UNLIMITED if UNLIMITED in config.left else max(config.left)
    found = []
    if UNLIMITED in config.chunk:
        found.append((Context.full(), modes[0]))
    else:
        found.append((Context(max(config.chunk), left, max(config.right)), modes[0]))
    finite = [chunk for chunk in config.chunk if chunk != UNLIMITED]
    if finite and modes[-1] == "windowed":
        found.append((Context(min(finite), left, max(config.right)), modes[-1]))
    return found
