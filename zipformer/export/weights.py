"""A model as one small file, to publish or to serve: weights and config, nothing of the training.

``Recognizer.from_checkpoint``, ``decode.py``, ``transcribe.py`` and ``export.py`` read it like any
checkpoint. Paths of the machine that trained it are not in it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.files import BPE_MODEL, Checkpoint
from zipformer.checkpoint.loading import LoadedModel
from zipformer.config import DataConfig, TrainConfig
from zipformer.config.toml import to_dict

WEIGHTS = "model.pt"


def export_weights(loaded: LoadedModel, directory: Path) -> Path:
    """Writes ``model.pt`` and ``bpe.model``; averaged weights stay averaged.

    Returns:
        The path of ``model.pt``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / BPE_MODEL).exists():
        shutil.copyfile(loaded.tokenizer.path, directory / BPE_MODEL)
    config = replace(
        loaded.config,
        data=DataConfig(sample_rate=loaded.config.data.sample_rate),
        train=TrainConfig(),
    )
    content: Checkpoint = {
        "model": {n: w.contiguous().cpu() for n, w in loaded.model.state_dict().items()},
        "config": to_dict(config),
        "files": {BPE_MODEL: checkpoint.sha256(directory / BPE_MODEL)},
        "state": {"step": loaded.steps, "audio_seconds": loaded.audio_seconds},
        "clock": {"seconds": loaded.train_seconds},
        "provenance": loaded.provenance,
        "label": loaded.label,
    }
    checkpoint.save(directory / WEIGHTS, content)
    return directory / WEIGHTS
