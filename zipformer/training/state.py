"""Where a run stands: the counters that a checkpoint keeps, and the randomness of a step."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch

from zipformer.config import TrainConfig
from zipformer.config.toml import Plain
from zipformer.tokens.scoring import ERROR_RATES

LATER = frozenset({"batches_per_step", "valid_wer", "best_wer"})  # older runs lack them


@dataclass
class TrainState:
    """Position of a run; together with the weights and the optimizer it is all that resuming needs.

    There is no random state in it: the randomness of every step is drawn from (seed, step) by
    ``seed_step``, that of the data from (seed, epoch, batch) by the loader.
    """

    epoch: int = 1  # the epoch that is running, from 1
    batch: int = 0  # steps of that epoch already taken
    step: int = 0  # steps taken in the whole run, skipped ones included
    batches_per_step: int = 1  # over all processes
    audio_seconds: float = 0.0  # audio in all those batches: the clock of the schedules
    epoch_start_seconds: float = 0.0  # the same when the running epoch began
    skipped: int = 0  # steps without an update: something was not finite, or memory ran out
    skipped_in_row: int = 0
    valid_step: int = 0  # the last step that was validated, and its loss per output frame
    valid_loss: float = float("inf")
    valid_wer: dict[str, float] = field(default_factory=dict)  # by context
    best_loss: float = float("inf")  # lowest validation loss at the end of an epoch
    best_epoch: int = 0
    best_wer: dict[str, float] = field(default_factory=dict)  # the same for the WER, by context

    @property
    def position(self) -> str:
        """Where the run stands, for people."""
        at_end = self.batch == 0 and self.epoch > 1
        epoch = f"end of epoch {self.epoch - 1}" if at_end else f"epoch {self.epoch}"
        batch = "" if at_end else f", batch {self.batch}"
        return f"step {self.step} ({epoch}{batch}, {self.audio_seconds / 3600:.2f} h of audio)"

    def limit(self, config: TrainConfig) -> str:
        """The key that ended a finished run."""
        if self.epoch > config.num_epochs:
            return f"train.num_epochs ({config.num_epochs})"
        return f"train.max_steps ({config.max_steps})"

    def finished(self, config: TrainConfig) -> bool:
        """Whether ``num_epochs`` or ``max_steps`` is reached."""
        return self.epoch > config.num_epochs or 0 < config.max_steps <= self.step

    def count_step(self, seconds: float, updated: bool) -> None:
        """Counts a step of ``seconds`` of audio, and whether it moved the weights."""
        self.batch += 1
        self.step += 1
        self.audio_seconds += seconds
        self.skipped += not updated
        self.skipped_in_row = 0 if updated else self.skipped_in_row + 1

    def take_validation(self, figures: dict[str, float]) -> None:
        """Keeps what the validation at the present step found, of all sets together.

        Args:
            figures: As ``Task.validate`` gives them: error rates by names as in ``wer 32/256/64``.
        """
        self.valid_step, self.valid_loss = self.step, figures["loss"]
        parts = {name: name.partition(" ") for name in figures}
        self.valid_wer = {
            context: figures[name]
            for name, (kind, _, context) in parts.items()
            if kind in ERROR_RATES
        }

    def end_epoch(self) -> list[str]:
        """Moves on to the next epoch.

        Returns:
            What the epoch that ends is the best at so far: ``valid`` for the loss, ``wer-CONTEXT``.
        """
        best = []
        if self.valid_loss < self.best_loss:
            self.best_loss, self.best_epoch = self.valid_loss, self.epoch
            best.append("valid")
        for context, value in self.valid_wer.items():
            if value < self.best_wer.get(context, float("inf")):
                self.best_wer[context] = value
                best.append(f"wer-{context}")
        self.epoch += 1
        self.batch = 0
        self.epoch_start_seconds = self.audio_seconds
        return best

    def regroup(self, batches_per_step: int) -> bool:
        """Goes on with another number of batches a step.

        Returns:
            Whether that moves the position within the epoch: some cuts of what is left of it will
            have been seen, and others not.
        """
        moves = self.batch > 0 and batches_per_step != self.batches_per_step
        if moves:
            self.batch = -(-self.batch * self.batches_per_step // batches_per_step)
        self.batches_per_step = batches_per_step
        return moves

    def done(self, config: TrainConfig, epoch_seconds: float) -> float:
        """Share of the run that is done, 0 to 1.

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

    def state_dict(self) -> dict[str, Plain]:
        """Plain numbers by name."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Plain]) -> None:
        """Takes over every counter; those that an older run did not keep stay as they are.

        Raises:
            ValueError: If counters are missing or unknown, naming them.
        """
        names = {field.name for field in fields(self)}
        differing = names ^ set(state)
        if differing - LATER:
            wrong = ", ".join(sorted(differing - LATER))
            raise ValueError(f"the position stored in the checkpoint does not fit: {wrong}")
        for name, value in state.items():
            setattr(self, name, value)


class Stopwatch:
    """Seconds that training has taken, over all starts of a run."""

    def __init__(self) -> None:
        self._before = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Until now, but for what ran after the checkpoint that was restored."""
        return self._before + time.monotonic() - self._began

    def state_dict(self) -> dict[str, float]:
        """The seconds."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Goes on counting from there."""
        self._before = state["seconds"]
        self._began = time.monotonic()


def seed_step(seed: int, step: int, position: int = 0) -> None:
    """Makes all randomness inside the model a function of (seed, step, batch of the step).

    So neither the loader, nor a validation, nor a restart in between can shift it.
    """
    # torch's CPU generator keeps 32 bits of a seed: mix the numbers rather than add them.
    mixed = np.random.SeedSequence((seed, step, position)).generate_state(1)[0]
    torch.manual_seed(int(mixed))
