"""The training loop. There is one: what differs between methods is a ``Task``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from zipformer import ops
from zipformer.config import RunConfig
from zipformer.nn.regularizers import regularizer_activity
from zipformer.nn.schedule import set_progress
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.asr import AsrTask
from zipformer.training.console import Console, logging_to
from zipformer.training.distributed import Processes
from zipformer.training.exclusive import only_training_in
from zipformer.training.gpus import check_gpus, tell_of_idle_gpus
from zipformer.training.metrics import (
    format_train,
    format_valid,
    train_record,
    valid_record,
)
from zipformer.training.precision import Precision
from zipformer.training.run import Run
from zipformer.training.scan import scan
from zipformer.training.signals import Interrupted, StopSignals
from zipformer.training.step import NonFiniteError, StepResult
from zipformer.training.task import Task, TrainingBatch

logger = logging.getLogger(__name__)

T = TypeVar("T")


def fit(config: RunConfig, task: Task | None = None, processes: Processes | None = None) -> Path:
    """Trains a model, or goes on training it where the last process stopped.

    The folder ``config.train.exp_dir`` holds everything of the run. Calling this again with the
    same config after an interruption gives the same numbers, bit for bit on a CPU, as if there had
    been none. SIGTERM, SIGINT and SIGUSR1 finish the step, save and return. Under torchrun all
    processes train one model.

    Args:
        config: The resolved config of the run.
        task: Data, model and loss; speech recognition if None.
        processes: That train together; those of torchrun, or this one alone, if None.

    Returns:
        The run's folder.

    Raises:
        ValueError: If the config cannot be run here, or contradicts the checkpoint in the folder.
        NonFiniteError: If ``train.max_nonfinite`` steps in a row had no finite gradients.
        RuntimeError: If memory runs out, saying what to lower.
        OSError: If the last checkpoint cannot be written.
    """
    settings = config.train
    processes = processes or Processes.from_environment()
    check_gpus(settings.device, processes)
    precision = Precision(settings.device, settings.precision, processes.local_rank)
    keep_freed_memory()
    settings.exp_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(only_training_in(settings.exp_dir, processes.is_main))
        console = stack.enter_context(logging_to(settings.exp_dir, processes.rank))
        stack.enter_context(processes.connected(precision.device))  # a signal ends the wait for it
        stop = stack.enter_context(StopSignals())
        where, how = precision.device, precision.description
        logger.info("training in %s on %s, %s", settings.exp_dir, where, how)
        ops.probe(precision.device)  # says now if kernels do not work, and not in the first step
        tell_of_idle_gpus(precision.device, processes)
        if processes.world_size > 1:
            threads = torch.get_num_threads()
            logger.info("%d processes, threads in each: %d", processes.world_size, threads)
        run = Run(config, task or AsrTask(config), processes, precision)
        stack.callback(run.close)
        _Loop(run, stop, console).train()
    return settings.exp_dir


class _Loop:
    """Epochs of steps, with what is due between them."""

    def __init__(self, run: Run, stop: StopSignals, console: Console) -> None:
        self.run, self.stop, self.console = run, stop, console
        self.state, self.settings = run.state, run.settings
        self.saved_step, self.saved_at = run.state.step, time.monotonic()

    def train(self) -> None:
        """Runs what is left of the epochs, or until a signal; saves at the end."""
        state, settings = self.state, self.settings
        try:
            if state.step == 0 and self._scans():
                scan(self.run.update, self.run.loader.largest())
            while not state.finished(settings):
                if _due(state.step, settings.valid_every):
                    self._validate()  # in case the last process was stopped within
                if not self._epoch():
                    break
                self._validate()
                epoch, best = state.epoch, state.end_epoch()
                self._save(epoch, best)
            if state.finished(settings):
                self._validate()
        except Interrupted:
            logger.info("the validation at step %d is left to the next start", state.step)
        if state.step > self.saved_step:
            self._save(last=True)
        self._say_goodbye()

    def _scans(self) -> bool:
        on_cuda = self.run.precision.device.type == "cuda"
        return self.settings.scan == "yes" or (self.settings.scan == "auto" and on_cuda)

    def _epoch(self) -> bool:
        """Runs the rest of an epoch; False if something else ended it."""
        state, settings = self.state, self.settings
        self.run.scheduler.step_epoch(state.epoch - 1)
        batches = self.run.loader.epoch(state.epoch, start_step=state.batch)
        steps = self.stop.until_stopped(_grouped(batches, self.run.share.accumulate))
        while not state.finished(settings):
            group = next(steps, None)
            # All processes must do the same, whoever got a signal.
            stopping, saving = self.run.processes.any(self.stop.requested, self._save_is_overdue())
            if stopping:
                return False
            if saving:
                self._save()
            if group is None:
                if state.batch == 0:
                    raise ValueError(f"epoch {state.epoch} has no batch: see data.train")
                return True
            self._step(group)
            if not state.finished(settings) and _due(state.step, settings.valid_every):
                self._validate()
            if _due(state.step, settings.save_every):
                self._save()
        return False

    def _step(self, batches: list[TrainingBatch]) -> None:
        state, settings = self.state, self.settings
        set_progress(self.run.model, state.audio_seconds / self.run.config.schedule.ref_seconds)
        self.run.scheduler.step_batch(state.step)
        batches = [batch.to(self.run.precision.device) for batch in batches]
        result = self.run.update(batches, state.step)
        state.count_step(result.seconds, result.updated)
        if result.updated:
            self.run.window.add(result.info, result.step.context)
            self.run.window.count("clipped", float(self.run.optimizer.last_clip.factor < 1.0))
        else:
            self._skipped(result)
        if self.run.average is not None and _due(state.step, settings.average_every):
            self.run.average.add(self.run.model)
        done = state.done(settings, self.run.epoch_seconds)
        self.console.bar(done, state.position)
        if state.step == 1 or _due(state.step, settings.log_every):
            self._log(result, done)

    def _log(self, result: StepResult, done: float) -> None:
        losses = self.run.window.take()
        if self.run.metrics is None:
            return
        norm = result.grad_norm
        drawn = {
            "lr": self.run.optimizer.param_groups[0]["lr"],
            "grad_norm": float("nan") if norm is None else norm.item(),
            "context": str(result.step.context),
            "right_mode": result.step.right_mode,
            **regularizer_activity(self.run.model),
        }
        record = train_record(self.state, losses, drawn, done, self.run.pace)
        self.run.metrics.write(record)
        logger.info(format_train(record))

    def _skipped(self, result: StepResult) -> None:
        """Says which batches were skipped, and gives up after too many in a row."""
        state = self.state
        logger.warning(
            "step %d skipped, %s (%d in a row); cuts: %s",
            state.step,
            result.why,
            state.skipped_in_row,
            " ".join(result.cut_ids),
        )
        if 0 < self.settings.max_nonfinite <= state.skipped_in_row:
            lr = self.run.optimizer.param_groups[0]["lr"]
            raise NonFiniteError(state.skipped_in_row, result, lr, self.run.precision.name)

    def _validate(self) -> None:
        state = self.state
        if state.valid_step == state.step:
            return
        if self.run.processes.world_size > 1:
            if state.step > self.saved_step:
                self._save()  # whoever is interrupted then leaves without waiting for the others
            if any(self.run.processes.any(self.stop.requested)):
                raise Interrupted
        figures = self._figures()
        state.take_validation(figures)
        record = valid_record(state, figures)
        if self.run.metrics is not None:
            self.run.metrics.write(record)
            for line in format_valid(record):
                logger.info(line)

    def _figures(self) -> dict[str, float]:
        """What the validation finds; what was trained is not lost if it cannot be done."""
        try:
            with self.stop.interruptible(), _evaluating(self.run.model, self.run.precision):
                return self.run.task.validate(self.run.model, self.run.processes)
        except Interrupted:
            raise
        except Exception:
            if self.run.processes.world_size == 1 and self.state.step > self.saved_step:
                self._save()  # several processes have saved before
            raise

    def _save_is_overdue(self) -> bool:
        """By the clock of the main process."""
        minutes = (time.monotonic() - self.saved_at) / 60
        is_due = 0 < self.settings.save_minutes <= minutes and self.state.step > self.saved_step
        return self.run.processes.is_main and is_due

    def _save(self, epoch: int | None = None, best: Sequence[str] = (), last: bool = False) -> None:
        """Writes a checkpoint: of a step, or of an epoch that ends."""
        self.saved_at = time.monotonic()
        failure: OSError | None = None
        try:
            if epoch is None:
                self.run.checkpointer.save_step(self.state.step)
            else:
                self.run.checkpointer.save_epoch(epoch, best)
        except OSError as error:
            failure = error
        (failed,) = self.run.processes.any(failure is not None)
        if not failed:
            self.saved_step = self.state.step
        elif last:
            raise failure or OSError("the main process could not write the checkpoint")
        elif failure is not None:
            notes = "; ".join(getattr(failure, "__notes__", []))
            logger.error(
                "%s (%s). Training goes on; make room before the next save", failure, notes
            )

    def _say_goodbye(self) -> None:
        state, settings = self.state, self.settings
        if state.finished(settings):
            limit = state.limit(settings)
            logger.info("%s: finished. To go on, raise %s", state.position, limit)
            return
        received = self.stop.received
        who = "a signal to another process" if received is None else received.name
        saved = "and saved; the same command goes on from here"
        if state.step == 0:
            saved = "before the first step: nothing was saved, the same command begins anew"
        logger.info("%s: stopped by %s %s", state.position, who, saved)


@contextmanager
def _evaluating(model: nn.Module, precision: Precision) -> Iterator[None]:
    model.eval()
    try:
        with torch.no_grad(), precision.autocast():
            yield
    finally:
        model.train()


def _grouped(items: Iterator[T], count: int) -> Iterator[list[T]]:
    """Lists of ``count`` neighbours."""
    while group := list(islice(items, count)):
        yield group


def _due(step: int, every: int) -> bool:
    return every > 0 and step > 0 and step % every == 0
