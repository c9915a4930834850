"""The largest batches first: memory that will run out in an hour should run out now."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zipformer.training.metrics import peak_memory_mb
from zipformer.training.step import Updater
from zipformer.training.task import TrainingBatch

logger = logging.getLogger(__name__)


def scan(updater: Updater, batches: Sequence[TrainingBatch]) -> None:
    """Computes loss and gradients of ``batches`` at the contexts that need most memory.

    Nothing of it stays: neither gradients nor buffers nor what regularizers remember.

    Raises:
        RuntimeError: If memory runs out in any process, naming a batch and the setting to lower.
    """
    model = updater.model
    probs = list(updater.whitening.probs)
    buffers = [buffer.clone() for buffer in model.buffers()]
    failure: RuntimeError | None = None
    try:
        for batch in batches:
            batch = batch.to(updater.precision.device)
            for step in updater.task.heaviest():
                updater.try_out(batch, step)
    except RuntimeError as error:
        failure = error
    updater.whitening.probs = probs
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    (failed,) = updater.processes.any(failure is not None)
    if failed:
        raise failure or RuntimeError("memory ran out in another process; see its message")
    logger.info("the %d largest batches fit: %.0f MB at most", len(batches), peak_memory_mb())
