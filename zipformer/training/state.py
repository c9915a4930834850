"""Where a run stands: the counters that a checkpoint keeps, and the randomness of a step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

from zipformer.config import TrainConfig


@dataclass
class TrainState:
    """Position of a run; together with the weights and the optimizer it is all that resuming needs.

    There is no random state in it: the randomness of every step is drawn from (seed, step) by
    ``seed_step``, that of the data from (seed, epoch, batch) by the loader.
    """

    epoch: int = 1  # the epoch that is running, from 1
    batch: int = 0  # batches of that epoch already taken
    step: int = 0  # batches taken in the whole run, skipped ones included
    audio_seconds: float = 0.0  # audio in those batches: the clock of the schedules
    epoch_start_seconds: float = 0.0  # the same when the running epoch began
    skipped: int = 0  # batches without an update, because loss or gradients were not finite
    skipped_in_row: int = 0
    valid_step: int = 0  # the last step that was validated, and its loss per output frame
    valid_loss: float = float("inf")
    best_loss: float = float("inf")  # lowest validation loss at the end of an epoch
    best_epoch: int = 0

    def finished(self, config: TrainConfig) -> bool:
        """Whether ``num_epochs`` or ``max_steps`` is reached."""
        return self.epoch > config.num_epochs or 0 < config.max_steps <= self.step

    def count_batch(self, seconds: float, updated: bool) -> None:
        """Counts a batch of ``seconds`` of audio, and whether it moved the weights."""
        self.batch += 1
        self.step += 1
        self.audio_seconds += seconds
        self.skipped += not updated
        self.skipped_in_row = 0 if updated else self.skipped_in_row + 1

    def end_epoch(self) -> bool:
        """Moves on to the next epoch; True if the one that ends validated best so far."""
        is_best = self.valid_loss < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = self.valid_loss, self.epoch
        self.epoch += 1
        self.batch = 0
        self.epoch_start_seconds = self.audio_seconds
        return is_best

    def done(self, config: TrainConfig, epoch_seconds: float) -> float:
        """Share of the run that lies behind, 0 to 1.

        Args:
            config: Says how long the run is.
            epoch_seconds: Expected audio of an epoch; used in the first epoch only, afterwards the
                epochs themselves have told. 0 = unknown.
        """
        if self.epoch > 1:
            epoch_seconds = self.epoch_start_seconds / (self.epoch - 1)
        total_seconds = epoch_seconds * config.num_epochs
        by_audio = self.audio_seconds / total_seconds if total_seconds > 0 else 0.0
        by_steps = self.step / config.max_steps if config.max_steps > 0 else 0.0
        return 1.0 if self.finished(config) else min(max(by_audio, by_steps), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers by name."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over every counter.

        Raises:
            ValueError: If counters are missing or unknown, naming them.
        """
        names = {field.name for field in fields(self)}
        if names != set(state):
            wrong = ", ".join(sorted(names ^ set(state)))
            raise ValueError(f"the position stored in the checkpoint does not fit: {wrong}")
        for name, value in state.items():
            setattr(self, name, value)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Makes all randomness inside the model a function of (seed, step, rank).

    So neither the loader, nor a validation, nor a restart in between can shift it.
    """
    # torch's CPU generator keeps 32 bits of a seed: mix the numbers rather than add them.
    mixed = np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]
    torch.manual_seed(int(mixed))
