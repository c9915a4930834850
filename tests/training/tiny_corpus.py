"""A corpus of noise with transcripts, a tokenizer and a recognizer small enough for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from zipformer.config import (
    ContextConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    RunConfig,
    ScheduleConfig,
    SpecAugmentConfig,
    TrainConfig,
    ValidationConfig,
)
from zipformer.nn.zipformer.config import ZipformerConfig

WORDS = "zero one two three four five six seven eight nine".split()
VOCAB_SIZE = 24

ENCODER = ZipformerConfig(
    downsampling=(1, 2),
    num_layers=(1, 1),
    dims=(16, 16),
    unmasked_dims=(16, 16),
    query_head_dim=(4, 4),
    pos_head_dim=(4, 4),
    value_head_dim=(4, 4),
    num_heads=(2, 2),
    feedforward_dims=(16, 16),
    kernels=(7, 7),
    pos_dim=8,
    frontend_channels=(2, 2, 4),
)
MODEL = ModelConfig(predictor_dim=16, joiner_dim=16, ctc=True)


def write_tokenizer(path: Path) -> None:
    """Trains the unigram vocabulary, as ``local/train_bpe.py`` does for a recipe."""
    lines = [" ".join(WORDS[(i * j) % 10] for j in range(1, 6)) for i in range(1, 60)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(path.with_suffix("")),
        vocab_size=VOCAB_SIZE,
        model_type="unigram",
        character_coverage=1.0,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    path.with_suffix(".vocab").unlink()


def write_cuts(folder: Path, name: str, count: int, seed: int) -> Path:
    """``count`` cuts of 1 to 2 s of noise with two or three words each."""
    random = np.random.default_rng(seed)
    cuts = []
    for i in range(count):
        samples = 0.1 * random.standard_normal(random.integers(16000, 32000)).astype(np.float32)
        path = folder / f"{name}-{i}.wav"
        soundfile.write(path, samples, 16000)
        recording = Recording.from_file(path)
        text = " ".join(random.choice(WORDS, size=random.integers(2, 4)))
        segment = SupervisionSegment(f"{name}-{i}", recording.id, 0, recording.duration, text=text)
        cuts.append(
            MonoCut(f"{name}-{i}", 0, recording.duration, 0, [segment], recording=recording)
        )
    path = folder / f"{name}.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    return path


def tiny_asr_config(corpus: Path, exp_dir: Path, **train: Any) -> RunConfig:
    """A run over ``write_corpus(corpus)`` that takes a second or two."""
    settings: dict[str, Any] = {
        "exp_dir": exp_dir,
        "num_epochs": 2,
        "log_every": 1,
        "valid_every": 0,
        "save_every": 3,
        "average_every": 1,
        "device": "cpu",
        "tensorboard": False,
    }
    return RunConfig(
        encoder=ENCODER,
        model=MODEL,
        context=ContextConfig(
            chunk=(32, -1), left=(64,), right=(0, 32), right_mode="mixed", policy="uniform"
        ),
        loss=LossConfig(warm_steps=4, ctc_scale=0.2),
        schedule=ScheduleConfig(ref_seconds=1.0),
        data=DataConfig(
            train=(corpus / "train.jsonl.gz",),
            valid=(corpus / "valid.jsonl.gz",),
            bpe_model=corpus / "bpe.model",
            max_duration=6.0,
            num_buckets=2,
            num_workers=0,
            spec_augment=SpecAugmentConfig(time_warp=20, max_time_width=10),
        ),
        train=TrainConfig(**{**settings, **train}),
        validation=ValidationConfig(contexts=("full", "32/64/32"), wer_cuts=3),
    )


def write_corpus(folder: Path) -> Path:
    """Tokenizer, training and validation cuts in ``folder``."""
    write_tokenizer(folder / "bpe.model")
    write_cuts(folder, "train", count=14, seed=1)
    write_cuts(folder, "valid", count=4, seed=2)
    return folder
