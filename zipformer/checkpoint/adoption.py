"""A released model as a run of ours: one folder, which every verb takes as any other."""

from __future__ import annotations

import shutil
from pathlib import Path

from zipformer.checkpoint import files
from zipformer.checkpoint.files import Checkpoint
from zipformer.config import DataConfig, LossConfig, ModelConfig, RunConfig, TrainConfig
from zipformer.config.sections import ValidationConfig
from zipformer.config.toml import to_dict, to_toml
from zipformer.files import replacing_folder, write_text
from zipformer.released.source import Released


def adopt(released: Released, out: Path) -> RunConfig:
    """Writes ``model.pt``, its vocabulary and ``config.toml``; all of it or nothing.

    Args:
        released: The model.
        out: The folder of the run, which must not exist, or be empty.

    Returns:
        The config of the run.

    Raises:
        ValueError: If there is something in ``out``.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists: choose another --out, or remove it first")
    config = run_config(released)
    with replacing_folder(out) as folder:
        vocabulary = folder / released.tokenizer.file_name
        shutil.copyfile(released.tokenizer.path, vocabulary)
        content: Checkpoint = {
            "model": {n: w.float().contiguous() for n, w in released.weights.items()},
            "config": to_dict(config),
            "files": {vocabulary.name: files.sha256(vocabulary)},
            "state": {"step": released.steps, "audio_seconds": 0.0},
            "label": released.label,
        }
        files.save(folder / files.WEIGHTS, content)
        write_text(folder / "config.toml", to_toml(config))
    return config


def run_config(released: Released) -> RunConfig:
    """The config of a run with such a model; what training would need is as by default.

    As a TOML in the run's folder it can be trained on with, given data and ``--init-from``; its
    paths are relative to that folder.
    """
    architecture = released.architecture
    return RunConfig(
        encoder=architecture.encoder,
        model=architecture.model,
        context=architecture.context,
        loss=_loss(architecture.model),
        data=DataConfig(
            bpe_model=Path(released.tokenizer.file_name), sample_rate=architecture.sample_rate
        ),
        train=TrainConfig(exp_dir=Path("trained_on")),
        validation=ValidationConfig(contexts=("full",)),
    )


def _loss(model: ModelConfig) -> LossConfig:
    """Every head has a weight, as in the recipes that train several."""
    return LossConfig(
        transducer_scale=float(model.transducer),
        ctc_scale=(0.2 if model.transducer else 1.0) * model.ctc,
        aed_scale=0.8 * model.attention_decoder,
    )
