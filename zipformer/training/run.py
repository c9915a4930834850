"""All that a run consists of: data, model, optimizer, where it stands and where it writes."""

from __future__ import annotations

import logging

import torch
from torch import nn

from zipformer.checkpoint.averaging import ModelAverage
from zipformer.checkpoint.fingerprint import training_data_fingerprint
from zipformer.checkpoint.provenance import Provenance, training_provenance
from zipformer.config import OptimConfig, RunConfig
from zipformer.config.toml import to_dict, to_toml
from zipformer.files import write_text
from zipformer.optim import Adam, Eden, LearningRate, Noam, ScaledAdam
from zipformer.training.advice import learning_rate_advice
from zipformer.training.distributed import Processes
from zipformer.training.metrics import LossWindow, MetricsWriter, SpeedMeter
from zipformer.training.precision import Precision
from zipformer.training.resume import Checkpointer, Stateful
from zipformer.training.state import Stopwatch, TrainState
from zipformer.training.step import Updater
from zipformer.training.task import Task

logger = logging.getLogger(__name__)


class Origin:
    """Which code and data a run began with; its checkpoints carry it along."""

    def __init__(self) -> None:
        self.provenance: Provenance = {"git_commit": None, "data": None}

    def state_dict(self) -> Provenance:
        """Plain values."""
        return self.provenance

    def load_state_dict(self, state: Provenance) -> None:
        """Takes them over."""
        self.provenance = {"git_commit": state["git_commit"], "data": state["data"]}


class Run:
    """Built from the config, then set to where the last process stopped.

    Args:
        config: The resolved config.
        task: Data, model and loss.
        processes: That train together.
        precision: Device and number format.

    Raises:
        ValueError: If the config contradicts the checkpoint in its folder.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        processes: Processes,
        precision: Precision,
    ) -> None:
        settings = config.train
        self.config, self.settings = config, settings
        self.task, self.processes, self.precision = task, processes, precision

        # 1. Data
        self.share = processes.share(settings.accumulate)
        self.loader = task.build_loader(self.share)

        # 2. Model
        torch.manual_seed(settings.seed)
        self.model = task.build_model().to(precision.device).train()
        size = sum(p.numel() for p in self.model.parameters())
        logger.info("the model has %.2f M parameters", size / 1e6)

        # 3. Optimizer
        self.optimizer = _optimizer(self.model, config.optim)
        self.scheduler = _scheduler(self.optimizer, config.optim)
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

        # 4. Where it stands
        self.state, self.window = TrainState(), LossWindow(processes)
        self.average = ModelAverage(self.model) if processes.is_main else None
        self.clock, self.origin = Stopwatch(), Origin()
        self.checkpointer = self._checkpointer()
        self._restore()
        processes.share_weights(self.model)

        # 5. Records
        self.metrics: MetricsWriter | None = None
        if processes.is_main:
            write_text(settings.exp_dir / "config.toml", to_toml(config))
            self.metrics = MetricsWriter(settings.exp_dir, self.state, settings.tensorboard)
        self.epoch_seconds = task.epoch_seconds() if self.state.epoch == 1 else 0.0
        done = self.state.done(settings, self.epoch_seconds)
        self.pace = SpeedMeter(self.state.audio_seconds, done)
        if self.state.step == 0:
            self._advise()

    def _restore(self) -> None:
        """Takes over the newest checkpoint, or begins: from fresh weights or from given ones."""
        restored = self.checkpointer.restore()
        if restored is not None:
            logger.info("going on from %s: %s", restored, self.state.position)
            if self.processes.is_main:
                self._compare_data()
        else:
            if self.processes.is_main:
                self.origin.provenance = training_provenance(self.config)
            if self.settings.init_from is not None:
                logger.info("%s", self.task.initialise(self.model, self.settings.init_from))
        self._regroup()

    def _compare_data(self) -> None:
        """Says so if the cuts are others than those that the run began with."""
        before = self.origin.provenance["data"]
        now = training_data_fingerprint(self.config.data)
        if before is None or now is None or before.split("+")[-1] == now:
            return
        logger.warning(
            "the training data have changed since this run began (cuts were added, left out, "
            "changed or weighted anew): what it learned is of both. %s",
            f"In what is left of epoch {self.state.epoch} some cuts come twice and others not at "
            "all"
            if self.state.batch
            else "The next epoch is of the new ones",
        )
        self.origin.provenance["data"] = f"{before}+{now}"

    def _advise(self) -> None:
        takers = self.share.batches_per_step // self.settings.accumulate  # of so many batches each
        for line in learning_rate_advice(self.config, takers, self.epoch_seconds):
            logger.info("advice: %s", line)

    def _checkpointer(self) -> Checkpointer:
        parts: dict[str, Stateful] = {
            "model": self.model,
            "whitening": self.update.whitening,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.precision,
            "state": self.state,
            "window": self.window,
            "clock": self.clock,
            "provenance": self.origin,
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
                "steps had %d batches (train.accumulate x processes of torchrun) until now and "
                "have %d from here on: the rest of epoch %d is drawn anew, so that some cuts come "
                "twice in it and others not at all. Keep the product for an exact continuation",
                before,
                self.share.batches_per_step,
                self.state.epoch,
            )

    def close(self) -> None:
        """Closes the files."""
        if self.metrics is not None:
            self.metrics.close()


def _optimizer(model: nn.Module, config: OptimConfig) -> ScaledAdam | Adam:
    if config.kind == "adam":
        return Adam(model.parameters(), lr=config.base_lr)
    named = list(model.named_parameters())
    return ScaledAdam(
        named,
        lr=config.base_lr,
        clipping_scale=config.clipping_scale,
        learn_scale=config.learn_scale,
    )


def _scheduler(optimizer: ScaledAdam | Adam, config: OptimConfig) -> LearningRate:
    if config.lr_schedule == "noam":
        return Noam(optimizer, config.noam_dim, config.warmup_batches)
    return Eden(
        optimizer, config.lr_batches, config.lr_epochs, config.warmup_batches, config.warmup_start
    )
