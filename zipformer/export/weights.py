"""A model as one small file, to publish or to serve: weights and config, nothing of the training.

``Recognizer.from_checkpoint``, ``decode.py``, ``transcribe.py`` and ``export.py`` read it like any
checkpoint. Paths of the machine that trained it are not in it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.files import WEIGHTS, Checkpoint
from zipformer.checkpoint.loading import LoadedModel
from zipformer.config import DataConfig, TrainConfig
from zipformer.config.toml import to_dict


def export_weights(loaded: LoadedModel, directory: Path) -> Path:
    """Writes ``model.pt`` and, beside it, the vocabulary; averaged weights stay averaged.

    Returns:
        The path of ``model.pt``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = directory / loaded.tokenizer.file_name
    if not vocabulary.exists():
        shutil.copyfile(loaded.tokenizer.path, vocabulary)
    config = replace(
        loaded.config,
        data=DataConfig(sample_rate=loaded.config.data.sample_rate),
        train=TrainConfig(),
    )
    content: Checkpoint = {
        "model": {n: w.contiguous().cpu() for n, w in loaded.model.state_dict().items()},
        "config": to_dict(config),
        "files": {vocabulary.name: checkpoint.sha256(vocabulary)},
        "state": {"step": loaded.steps, "audio_seconds": loaded.audio_seconds},
        "clock": {"seconds": loaded.train_seconds},
        "provenance": loaded.provenance,
        "label": loaded.label,
    }
    checkpoint.save(directory / WEIGHTS, content)
    return directory / WEIGHTS
