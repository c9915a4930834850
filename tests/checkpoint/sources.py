"""Checkpoints of ours and of the published form, from which a new run can start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from published_names import published_name
from torch import Tensor, nn
from training.tiny_corpus import ENCODER, VOCAB_SIZE

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.averaging import ModelAverage
from zipformer.checkpoint.initialise import Initialised
from zipformer.config import ContextConfig, LossConfig, ModelConfig, RunConfig
from zipformer.config.toml import to_dict
from zipformer.model import AsrModel

MODEL = ModelConfig(predictor_dim=16, joiner_dim=16)


def fresh(seed: int = 7, vocab_size: int = VOCAB_SIZE, ctc: bool = False) -> AsrModel:
    """A model before training; all its weights differ from those of another seed."""
    torch.manual_seed(seed)
    model = AsrModel(ENCODER, vocab_size, replace(MODEL, ctc=ctc))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def write_checkpoint(
    path: Path,
    model: AsrModel,
    snapshots: int = 0,
    ctc: bool = False,
    heads: ModelConfig = MODEL,
) -> None:
    average = ModelAverage(model)
    for _ in range(snapshots):
        average.add(model)
    config = RunConfig(
        encoder=ENCODER,
        model=replace(heads, ctc=ctc or heads.ctc),
        loss=LossConfig(transducer_scale=float(heads.transducer), ctc_scale=float(heads.ctc)),
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0,)),
    )
    content = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "config": to_dict(config),
        "files": {"bpe.model": checkpoint.sha256(path.parent / "bpe.model")},
        "state": {"step": 5, "audio_seconds": 50.0},
    }
    checkpoint.save(path, content)


def write_published(path: Path, model: AsrModel, **more: Tensor) -> None:
    weights = {published_name(n, ENCODER): v for n, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": weights | more, "exp_dir": Path("/exp"), "optimizer": None}, path)


def write_tokens(path: Path, tokens: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{token} {i}" for i, token in enumerate([*tokens, "#0", "#1"])]
    path.write_text("\n".join(lines) + "\n")


def different(a: nn.Module, b: nn.Module) -> set[str]:
    """Names of the parameters of ``a`` that ``b`` lacks or has otherwise."""
    theirs = b.state_dict()
    return {n for n, v in a.state_dict().items() if n not in theirs or not v.equal(theirs[n])}


def check_complete(report: Initialised, model: nn.Module) -> None:
    """Every parameter has one fate."""
    fates = [*report.loaded, *report.adapted, *report.reinitialised]
    assert sorted(fates) == sorted(model.state_dict())


AED = replace(
    MODEL,
    transducer=False,
    ctc=True,
    attention_decoder=True,
    aed_layers=1,
    aed_dim=8,
    aed_heads=2,
    aed_feedforward_dim=12,
)


def other_heads(seed: int, heads: ModelConfig = AED, vocab_size: int = VOCAB_SIZE) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(ENCODER, vocab_size, heads).eval()
