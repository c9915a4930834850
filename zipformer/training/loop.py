"""The training loop. There is one: what differs between methods is a ``Task``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from zipformer.cli import to_dict, to_toml
from zipformer.config import RunConfig, TrainConfig
from zipformer.data.sampler import Share
from zipformer.nn.regularizers import regularizer_activity
from zipformer.nn.schedule import set_progress
from zipformer.ops.memory import keep_freed_memory
from zipformer.optim import Eden, ScaledAdam
from zipformer.training.advice import learning_rate_advice
from zipformer.training.asr import AsrTask
from zipformer.training.averaging import ModelAverage
from zipformer.training.console import logging_to
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.distributed import Processes
from zipformer.training.metrics import (
    LossWindow,
    MetricsWriter,
    Pace,
    format_train,
    format_valid,
    train_record,
    valid_record,
)
from zipformer.training.resume import Checkpointer, Stateful, Whitening
from zipformer.training.scan import scan
from zipformer.training.signals import Interrupted, StopSignals
from zipformer.training.state import Stopwatch, TrainState
from zipformer.training.step import NonFiniteError, Precision, StepResult, Updater
from zipformer.training.task import StepInfo, Task

logger = logging.getLogger(__name__)

T = TypeVar("T")


def fit(config: RunConfig, task: Task | None = None) -> Path:
    """Trains a model, or goes on training it where the last process stopped.

    The folder ``config.train.exp_dir`` holds everything of the run. Calling this again with the
    same config after an interruption gives the same numbers, bit for bit on a CPU, as if there had
    been none. SIGTERM, SIGINT and SIGUSR1 finish the step, save and return. Under torchrun all
    processes train one model.

    Args:
        config: The resolved config of the run.
        task: Data, model and loss; speech recognition if None.

    Returns:
        The run's folder.

    Raises:
        ValueError: If the config cannot be run here, or contradicts the checkpoint in the folder.
        NonFiniteError: If ``train.max_nonfinite`` steps in a row had no finite gradients.
        RuntimeError: If memory runs out, saying what to lower.
        OSError: If the last checkpoint cannot be written.
    """
    settings = config.train
    processes = Processes.from_environment()
    precision = Precision(settings.device, settings.precision, processes.local_rank)
    keep_freed_memory()
    settings.exp_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        console = stack.enter_context(logging_to(settings.exp_dir, processes.rank))
        stop = stack.enter_context(StopSignals())
        stack.enter_context(processes.connected(precision.device))
        logger.info("training in %s on %s, %s", settings.exp_dir, precision.device, precision.name)
        run = _Run(config, task or AsrTask(config), processes, precision, stop)
        stack.callback(run.close)
        run.on_step = console.bar
        run.train()
    return settings.exp_dir


class _Run:
    """All that a run consists of, and the loop over its epochs."""

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        processes: Processes,
        precision: Precision,
        stop: StopSignals,
    ) -> None:
        settings, optim = config.train, config.optim
        self.config, self.settings = config, settings
        self.task, self.processes, self.precision, self.stop = task, processes, precision, stop
        self.on_step = lambda done, text: None

        # 1. Data
        self.share = Share(processes.rank, processes.world_size, settings.accumulate)
        self.loader = task.build_loader(self.share)
        self.sampler = ContextSampler(config.context, config.encoder, settings.seed)

        # 2. Model
        torch.manual_seed(settings.seed)
        self.model = task.build_model().to(precision.device).train()
        size = sum(p.numel() for p in self.model.parameters())
        logger.info("the model has %.2f M parameters", size / 1e6)

        # 3. Optimizer
        named = list(self.model.named_parameters())
        self.optimizer = ScaledAdam(named, lr=optim.base_lr, clipping_scale=optim.clipping_scale)
        self.scheduler = Eden(
            self.optimizer,
            optim.lr_batches,
            optim.lr_epochs,
            optim.warmup_batches,
            optim.warmup_start,
        )
        self.update = Updater(
            task,
            self.model,
            self.optimizer,
            precision,
            processes,
            self.share,
            settings.seed,
            settings.oom,
        )

        # 4. Restore
        self.state, self.window = TrainState(), LossWindow(processes)
        self.average = ModelAverage(self.model) if processes.is_main else None
        self.clock = Stopwatch()
        self.checkpointer = self._checkpointer()
        restored = self.checkpointer.restore()
        if restored is not None:
            logger.info("going on from %s: %s", restored, _position(self.state))
        elif settings.init_from is not None:
            logger.info("%s", task.initialise(self.model, settings.init_from))
        self._regroup()
        processes.share_weights(self.model)
        if processes.is_main:
            path = settings.exp_dir / "config.toml"
            path.write_text(to_toml(config), encoding="utf-8")
        self.saved_step = self.state.step
        self.saved_at = time.monotonic()
        self.metrics = (
            MetricsWriter(settings.exp_dir, self.state, settings.tensorboard)
            if processes.is_main
            else None
        )
        self.epoch_seconds = task.epoch_seconds() if self.state.epoch == 1 else 0.0
        done = self.state.done(settings, self.epoch_seconds)
        self.pace = Pace(self.state.audio_seconds, done)
        if self.state.step == 0:
            advice = learning_rate_advice(config, processes.world_size, self.epoch_seconds)
            for line in advice:
                logger.info("advice: %s", line)

    def _checkpointer(self) -> Checkpointer:
        parts: dict[str, Stateful] = {
            "model": self.model,
            "whitening": Whitening(self.model, self.processes),
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.precision.scaler,
            "state": self.state,
            "window": self.window,
            "clock": self.clock,
        }
        if self.average is not None:
            parts["average"] = self.average
        exp_dir, files = self.settings.exp_dir, self.task.files()
        return Checkpointer(
            exp_dir, self.processes, parts, to_dict(self.config), files, self.settings.keep_last
        )

    def _regroup(self) -> None:
        before = self.state.batches_per_step
        if self.state.regroup(self.share.batches_per_step):
            logger.warning(
                "steps had %d batches (processes x train.accumulate) until now and have %d from "
                "here on: the rest of epoch %d is drawn anew, so that some cuts come twice in it "
                "and others not at all. Keep the product for an exact continuation",
                before,
                self.share.batches_per_step,
                self.state.epoch,
            )

    def train(self) -> None:
        """Runs what is left of the epochs, or until a signal; saves at the end."""
        state, settings = self.state, self.settings
        try:
            if state.step == 0 and self._scans():
                scan(self.update, self.loader.largest(), self.config.context)
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

    def close(self) -> None:
        """Closes the files."""
        if self.metrics is not None:
            self.metrics.close()

    def _scans(self) -> bool:
        on_cuda = self.precision.device.type == "cuda"
        return self.settings.scan == "yes" or (self.settings.scan == "auto" and on_cuda)

    def _epoch(self) -> bool:
        """Runs the rest of an epoch; False if something else ended it."""
        state, settings = self.state, self.settings
        self.scheduler.step_epoch(state.epoch - 1)
        batches = self.loader.epoch(state.epoch, start_step=state.batch)
        steps = self.stop.until_stopped(_grouped(batches, settings.accumulate))
        while not state.finished(settings):
            group = next(steps, None)
            # All processes must do the same, whoever got a signal.
            stopping, saving = self.processes.any(self.stop.requested, self._save_is_overdue())
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

    def _step(self, batches: list[Any]) -> None:
        state, settings = self.state, self.settings
        context, right_mode = self.sampler.sample(state.step)
        step = StepInfo(state.step, context, right_mode)
        set_progress(self.model, state.audio_seconds / self.config.schedule.ref_seconds)
        self.scheduler.step_batch(state.step)
        result = self.update([batch.to(self.precision.device) for batch in batches], step)
        state.count_step(result.seconds, result.updated)
        if result.updated:
            self.window.add(result.info, context)
            self.window.count("clipped", float(self.optimizer.last_clip.factor < 1.0))
        else:
            self._skipped(result)
        if self.average is not None and _due(state.step, settings.average_every):
            self.average.add(self.model)
        done = state.done(settings, self.epoch_seconds)
        self.on_step(done, _position(state))
        if state.step == 1 or _due(state.step, settings.log_every):
            self._log(step, result, done)

    def _log(self, step: StepInfo, result: StepResult, done: float) -> None:
        losses = self.window.take()
        if self.metrics is None:
            return
        norm = result.grad_norm
        drawn = {
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": float("nan") if norm is None else norm.item(),
            "context": str(step.context),
            "right_mode": step.right_mode,
            **regularizer_activity(self.model),
        }
        record = train_record(self.state, losses, drawn, done, self.pace)
        self.metrics.write(record)
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
            lr = self.optimizer.param_groups[0]["lr"]
            raise NonFiniteError(state.skipped_in_row, result, lr, self.precision.name)

    def _validate(self) -> None:
        state = self.state
        if state.valid_step == state.step:
            return
        if self.processes.world_size > 1:
            if state.step > self.saved_step:
                self._save()  # whoever is interrupted then leaves without waiting for the others
            if any(self.processes.any(self.stop.requested)):
                raise Interrupted
        with self.stop.interruptible(), _evaluating(self.model, self.precision):
            figures = self.task.validate(self.model, self.processes)
        state.take_validation(figures)
        record = valid_record(state, figures)
        if self.metrics is not None:
            self.metrics.write(record)
            logger.info(format_valid(record))

    def _save_is_overdue(self) -> bool:
        """By the clock of the main process."""
        minutes = (time.monotonic() - self.saved_at) / 60
        is_due = 0 < self.settings.save_minutes <= minutes and self.state.step > self.saved_step
        return self.processes.is_main and is_due

    def _save(self, epoch: int | None = None, best: Sequence[str] = (), last: bool = False) -> None:
        """Writes a checkpoint: of a step, or of an epoch that ends."""
        self.saved_at = time.monotonic()
        try:
            if epoch is None:
                self.checkpointer.save_step(self.state.step)
            else:
                self.checkpointer.save_epoch(epoch, best)
        except OSError as error:
            if last:
                raise
            notes = "; ".join(getattr(error, "__notes__", []))
            logger.error("%s (%s). Training goes on; make room before the next save", error, notes)
            return
        self.saved_step = self.state.step

    def _say_goodbye(self) -> None:
        state, settings = self.state, self.settings
        if state.finished(settings):
            limit = _limit(state, settings)
            logger.info("%s: finished. To go on, raise %s", _position(state), limit)
            return
        received = self.stop.received
        logger.info(
            "%s: stopped by %s and saved; the same command goes on from here",
            _position(state),
            "a signal to another process" if received is None else received.name,
        )


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


def _position(state: TrainState) -> str:
    at_end = state.batch == 0 and state.epoch > 1
    where = (
        f"end of epoch {state.epoch - 1}" if at_end else f"epoch {state.epoch}, batch {state.batch}"
    )
    return f"step {state.step} ({where}, {state.audio_seconds / 3600:.2f} h of audio)"


def _limit(state: TrainState, settings: TrainConfig) -> str:
    if state.epoch > settings.num_epochs:
        return f"train.num_epochs ({settings.num_epochs})"
    return f"train.max_steps ({settings.max_steps})"
