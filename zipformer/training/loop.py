"""The training loop. There is one: what differs between methods is a ``Task``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zipformer.cli import to_dict, to_toml
from zipformer.config import RunConfig, TrainConfig
from zipformer.nn.schedule import set_progress
from zipformer.ops.memory import keep_freed_memory
from zipformer.optim import Eden, ScaledAdam
from zipformer.training.asr import AsrTask
from zipformer.training.averaging import ModelAverage
from zipformer.training.console import logging_to
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.metrics import (
    LossWindow,
    MetricsWriter,
    Pace,
    format_train,
    format_valid,
    train_record,
    valid_record,
)
from zipformer.training.resume import Checkpointer, Whitening
from zipformer.training.signals import Interrupted, StopSignals
from zipformer.training.state import TrainState, seed_step
from zipformer.training.step import NonFiniteError, Precision, StepResult, train_step
from zipformer.training.task import StepInfo, Task

logger = logging.getLogger(__name__)


def fit(config: RunConfig, task: Task | None = None) -> Path:  # noqa: C901, PLR0915
    """Trains a model, or goes on training it where the last process stopped.

    The folder ``config.train.exp_dir`` holds everything of the run. Calling this again with the
    same config after an interruption gives the same numbers, bit for bit on a CPU, as if there had
    been none. SIGTERM, SIGINT and SIGUSR1 finish the step, save and return.

    Args:
        config: The resolved config of the run.
        task: Data, model and loss; speech recognition if None.

    Returns:
        The run's folder.

    Raises:
        ValueError: If the config cannot be run here, or contradicts the checkpoint in the folder.
        NonFiniteError: If ``train.max_nonfinite`` batches in a row had no finite gradients.
        RuntimeError: If memory runs out, saying what to lower.
    """
    settings = config.train
    with ExitStack() as stack:
        # 1. Device, and a place to write to
        _refuse_several_processes()
        precision = Precision(settings.device, settings.precision)
        keep_freed_memory()
        settings.exp_dir.mkdir(parents=True, exist_ok=True)
        console = stack.enter_context(logging_to(settings.exp_dir))
        stop = stack.enter_context(StopSignals())
        logger.info("training in %s on %s, %s", settings.exp_dir, precision.device, precision.name)

        # 2. Data
        task = task or AsrTask(config)
        loader = task.build_loader(rank=0, world_size=1)
        sampler = ContextSampler(config.context, config.encoder, settings.seed)

        # 3. Model
        torch.manual_seed(settings.seed)
        model = task.build_model().to(precision.device).train()
        average = ModelAverage(model)
        size = sum(p.numel() for p in model.parameters())
        logger.info("the model has %.2f M parameters", size / 1e6)

        # 4. Optimizer
        optim = config.optim
        optimizer = ScaledAdam(
            list(model.named_parameters()), lr=optim.base_lr, clipping_scale=optim.clipping_scale
        )
        scheduler = Eden(
            optimizer, optim.lr_batches, optim.lr_epochs, optim.warmup_batches, optim.warmup_start
        )

        # 5. Restore
        state, window = TrainState(), LossWindow()
        checkpointer = Checkpointer(
            settings.exp_dir,
            parts={
                "model": model,
                "whitening": Whitening(model),
                "average": average,
                "optimizer": optimizer,
                "scheduler": scheduler,
                "scaler": precision.scaler,
                "state": state,
                "window": window,
            },
            config=to_dict(config),
            files=task.files(),
            keep_last=settings.keep_last,
        )
        restored = checkpointer.restore()
        (settings.exp_dir / "config.toml").write_text(to_toml(config), encoding="utf-8")
        if restored is not None:
            logger.info("going on from %s: %s", restored, _position(state))
        saved_step = state.step
        metrics = MetricsWriter(settings.exp_dir, state, settings.tensorboard)
        stack.callback(metrics.close)
        epoch_seconds = task.epoch_seconds() if state.epoch == 1 else 0.0
        pace = Pace(state.audio_seconds, state.done(settings, epoch_seconds))

        def validate() -> None:
            if state.valid_step == state.step:
                return
            with stop.interruptible(), _evaluating(model, precision):
                figures = task.validate(model)
            state.valid_step, state.valid_loss = state.step, figures["loss"]
            record = valid_record(state, figures)
            metrics.write(record)
            logger.info(format_valid(record))

        # 6. Epochs
        try:
            while not state.finished(settings) and not stop.requested:
                if _due(state.step, settings.valid_every):
                    validate()  # in case the last process was stopped within
                scheduler.step_epoch(state.epoch - 1)
                batches = loader.epoch(state.epoch, start_batch=state.batch)
                for batch in stop.until_stopped(batches):
                    context, right_mode = sampler.sample(state.step)
                    step = StepInfo(state.step, context, right_mode)
                    set_progress(model, state.audio_seconds / config.schedule.ref_seconds)
                    scheduler.step_batch(state.step)
                    seed_step(settings.seed, state.step)
                    batch = batch.to(precision.device)
                    result = train_step(task, model, optimizer, batch, step, precision)
                    lr = optimizer.param_groups[0]["lr"]
                    state.count_batch(batch.seconds, result.updated)
                    if result.updated:
                        window.add(result.info)
                    else:
                        _skip(state, settings.max_nonfinite, batch.cut_ids, lr, precision)

                    if _due(state.step, settings.average_every):
                        average.add(model)
                    done = state.done(settings, epoch_seconds)
                    console.bar(done, _position(state))
                    if state.step == 1 or _due(state.step, settings.log_every):
                        drawn = _drawn(step, result, lr)
                        record = train_record(state, window.take(), drawn, done, pace)
                        metrics.write(record)
                        logger.info(format_train(record))
                    if state.finished(settings):
                        validate()
                        break
                    if _due(state.step, settings.valid_every):
                        validate()
                    if _due(state.step, settings.save_every):
                        checkpointer.save_step(state.step)
                        saved_step = state.step
                else:
                    if stop.requested:
                        break
                    if state.batch == 0:
                        raise ValueError(f"epoch {state.epoch} has no batch: see data.train")
                    validate()
                    epoch, is_best = state.epoch, state.end_epoch()
                    checkpointer.save_epoch(epoch, is_best)
                    saved_step = state.step
        except Interrupted:
            logger.info("the validation at step %d is left to the next start", state.step)

        # 7. Close
        if state.step > saved_step:
            checkpointer.save_step(state.step)
        if state.finished(settings):
            logger.info(
                "%s: finished. To go on, raise %s", _position(state), _limit(state, settings)
            )
        else:
            assert stop.received is not None, "only a signal ends a run early"
            logger.info(
                "%s: stopped by %s and saved; the same command goes on from here",
                _position(state),
                stop.received.name,
            )
    return settings.exp_dir


@contextmanager
def _evaluating(model: nn.Module, precision: Precision) -> Iterator[None]:
    model.eval()
    try:
        with torch.no_grad(), precision.autocast():
            yield
    finally:
        model.train()


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


def _drawn(step: StepInfo, result: StepResult, lr: float) -> dict[str, Any]:
    return {
        "lr": lr,
        "grad_norm": result.grad_norm.item(),
        "context": str(step.context),
        "right_mode": step.right_mode,
    }


def _skip(
    state: TrainState, limit: int, cut_ids: list[str], lr: float, precision: Precision
) -> None:
    """Says which batch was skipped, and gives up after too many in a row."""
    logger.warning(
        "step %d skipped, its loss or gradients are not finite (%d in a row); cuts: %s",
        state.step,
        state.skipped_in_row,
        " ".join(cut_ids),
    )
    if 0 < limit <= state.skipped_in_row:
        raise NonFiniteError(state.skipped_in_row, cut_ids, lr, precision.name)


def _refuse_several_processes() -> None:
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1:
        raise ValueError(
            f"WORLD_SIZE = {world_size}: training in several processes is not there yet. "
            "Start it once, without torchrun"
        )
