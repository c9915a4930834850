"""Saving and restoring a whole run, so that the same command again goes on where it was."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from zipformer.checkpoint.files import (
    epoch_path,
    load,
    load_weights,
    newest,
    save,
    sha256,
    step_path,
    steps_in,
)
from zipformer.config.keys import CHANGEABLE_KEYS, FIXED_KEYS, flatten, is_under
from zipformer.config.reading import from_dict
from zipformer.config.toml import Plain, to_dict
from zipformer.files import replacing
from zipformer.training.distributed import Processes

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Whatever a checkpoint holds under a name of its own: it reads what it wrote."""

    def state_dict(self) -> Mapping[str, object]: ...  # noqa: D102

    def load_state_dict(self, state: Any, /) -> object: ...  # noqa: D102


class Checkpointer:
    """Writes the checkpoints of a run and finds the one to go on from.

    All processes of a run call its methods together; the main one writes.

    Args:
        exp_dir: Folder of the run, the same for all processes.
        processes: Of the run.
        parts: What is saved, by its name in the checkpoint; ``model`` among them.
        config: The resolved config as plain values.
        files: Files that the model is useless without; they are copied beside the checkpoints.
        keep_last: Step checkpoints to keep; those of epochs are all kept.
    """

    def __init__(
        self,
        exp_dir: Path,
        processes: Processes,
        parts: dict[str, Stateful],
        config: dict[str, Plain],
        files: dict[str, Path],
        keep_last: int,
    ) -> None:
        self.exp_dir = exp_dir
        self.processes = processes
        self.parts = parts
        self.config = config
        self.files = files
        self.hashes = {name: sha256(path) for name, path in files.items()}
        self.keep_last = max(keep_last, 1)

    def restore(self) -> Path | None:
        """Loads the newest checkpoint into the parts; None if there is none yet.

        Raises:
            ValueError: If it does not belong to this run: another architecture or tokenizer; or if
                the processes do not find the same one.
        """
        if self.processes.is_main:
            for leftover in self.exp_dir.glob("*.pt.tmp"):  # of a process killed while writing
                leftover.unlink()
        path = newest(self.exp_dir)
        names = self.processes.gather(path.name if path else None)
        if len(set(names)) > 1:
            raise ValueError(
                f"the processes find different checkpoints in {self.exp_dir}: {names}; "
                "train.exp_dir must be one folder that all machines share"
            )
        if path is not None:
            self._load(path)
        if self.processes.is_main:
            self._copy_files()
        return path

    def _load(self, path: Path) -> None:
        content = load(path)
        _compare_configs(content["config"], self.config, path)
        for name, stored in content["files"].items():
            if self.hashes.get(name) != stored:
                raise ValueError(
                    f"{self.files.get(name, name)} has changed since {path} was written, which "
                    "was trained with the old one; bring that back, or choose a new train.exp_dir"
                )
        states: Mapping[str, Any] = content  # each part knows its own
        for name, part in self.parts.items():
            if isinstance(part, nn.Module):
                load_weights(part, states[name], str(path))
            elif name in states:  # an older run had less to keep
                part.load_state_dict(states[name])

    def save_step(self, step: int) -> Path:
        """Writes ``checkpoint-STEP.pt`` and deletes the oldest beyond ``keep_last``.

        Raises:
            OSError: If it cannot be written, for one because the disk is full. What was there
                before is still there.
        """
        path = step_path(self.exp_dir, step)
        self._save(path)
        if self.processes.is_main:
            for old in steps_in(self.exp_dir)[: -self.keep_last]:
                step_path(self.exp_dir, old).unlink()
        return path

    def save_epoch(self, epoch: int, best: Sequence[str] = ()) -> Path:
        """Writes ``epoch-N.pt``, which becomes ``best-NAME.pt`` as well for each name given.

        Raises:
            OSError: As ``save_step``.
        """
        path = epoch_path(self.exp_dir, epoch)
        self._save(path)
        if self.processes.is_main:
            for name in best:
                self._link(path, self.exp_dir / f"best-{name.replace('/', '-')}.pt")
        return path

    def _link(self, path: Path, name: Path) -> None:
        with replacing(name) as temporary:
            temporary.unlink(missing_ok=True)
            try:
                os.link(path, temporary)  # the same bytes under two names
            except OSError:  # a file system without hard links
                shutil.copyfile(path, temporary)

    def _save(self, path: Path) -> None:
        content: dict[str, object] = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {"config": self.config, "files": self.hashes, "torch": str(torch.__version__)}
        if self.processes.is_main:
            save(path, content)

    def _copy_files(self) -> None:
        for name, path in self.files.items():
            target = self.exp_dir / name
            if not target.exists() or sha256(target) != self.hashes[name]:
                shutil.copyfile(path, target)


def _compare_configs(stored: Mapping[str, Plain], current: Mapping[str, Plain], path: Path) -> None:
    """Refuses a changed architecture, warns of other changes that make it another run."""
    # A setting that the stored config does not know had its default then.
    old, new = flatten(to_dict(from_dict(stored))), flatten(current)
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    lines = {key: f"{key}: {old.get(key)} -> {new.get(key)}" for key in changed}
    fixed = [lines[key] for key in changed if is_under(key, FIXED_KEYS)]
    if fixed:
        what = "optimizer" if all(line.startswith("optim.") for line in fixed) else "architecture"
        raise ValueError(
            f"{path} was trained with another {what}: {'; '.join(fixed)}. "
            "Set these back, or choose a new train.exp_dir"
        )
    other = [lines[key] for key in changed if not is_under(key, CHANGEABLE_KEYS)]
    if other:
        logger.warning(
            "the config has changed since %s was written, the run goes on with: %s",
            path.name,
            "; ".join(other),
        )
