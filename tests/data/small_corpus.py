"""A tiny corpus for tests: noises of known length with transcripts, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from local.compute_fbank import Settings, compute
from local.train_bpe import train_bpe
from zipformer.config import DataConfig
from zipformer.data.batch import Batch
from zipformer.tokens import Tokenizer, open_tokenizer

LENGTHS = [0.8, 1.0, 1.3, 0.9, 2.2, 1.7, 1.1, 2.9, 1.5, 0.7, 2.0, 1.2]
WORDS = ("zero", "one", "two", "three", "four", "five")


def write_cut(
    folder: Path, name: str, samples: np.ndarray, text: str | None, rate: int = 16000
) -> MonoCut:
    """One wav file and its cut; no supervision if the text is None."""
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    recording = Recording.from_file(path, recording_id=name)
    cut = recording.to_cut()
    cut.id = name
    if text is not None:
        cut.supervisions = [
            SupervisionSegment(
                id=name,
                recording_id=name,
                start=0.0,
                duration=recording.duration,
                text=text,
                speaker="ann",
            )
        ]
    return cut


def make_cuts(folder: Path, seconds: Sequence[float], seed: int = 0) -> list[MonoCut]:
    """Cuts of the given lengths, each of two words."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_cut(
            folder,
            f"cut{i:03d}",
            (0.1 * rng.standard_normal(round(length * 16000))).astype(np.float32),
            " ".join(WORDS[j] for j in rng.integers(len(WORDS), size=2)),
        )
        for i, length in enumerate(seconds)
    ]


def write_manifest(path: Path, cuts: Sequence[MonoCut]) -> Path:
    """A cuts manifest."""
    CutSet.from_cuts(cuts).to_file(path)
    return path


def with_features(manifest: Path, max_bad_share: float = 0.0) -> Path:
    """The manifest of the same cuts with stored features."""
    out = manifest.with_name(f"fbank_{manifest.name}")
    settings = Settings(cuts=manifest, out=out, storage_dir=out.with_suffix(".feats"))
    compute(settings, max_bad_share=max_bad_share)
    return out


def make_tokenizer(folder: Path) -> Tokenizer:
    """One token a word, and the characters."""
    path = folder / "bpe.model"
    texts = [" ".join(order) for order in permutations(WORDS, 3)]
    path.write_bytes(train_bpe(texts, 500)[0])
    return open_tokenizer(path)


def config_for(*manifests: Path, **changes: object) -> DataConfig:
    """A small loader, without workers unless they are asked for."""
    settings: dict[str, object] = dict(max_duration=6.0, num_buckets=3, num_workers=0)
    return DataConfig(train=tuple(manifests), **{**settings, **changes})  # type: ignore[arg-type]


def assert_equal(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    """Bit for bit."""
    assert [b.cut_ids for b in first] == [b.cut_ids for b in second]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.feature_lens, b.feature_lens)
        assert (a.tokens, a.texts, a.seconds) == (b.tokens, b.texts, b.seconds)


def broken_corpus(folder: Path, good: int, broken: int) -> Path:
    cuts = make_cuts(folder, [1.0] * (good + broken))
    for cut in cuts[good:]:
        Path(cut.recording.sources[0].source).write_bytes(b"RIFF no audio at all")
    return write_manifest(folder / "broken.jsonl.gz", cuts)
