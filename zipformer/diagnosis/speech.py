"""Speech that nobody said: features, transcripts, a corpus and token sets, for checks to train on.

Nothing has to be downloaded or prepared, and every number follows from a seed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from zipformer.data.batch import Batch, collate
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.tokens import SPECIAL_TOKENS, UNK_ID

# Two stacks of one layer: a step takes a fraction of a second on one core.
TINY = ZipformerConfig(
    downsampling=(1, 2),
    num_layers=(1, 1),
    dims=(16, 24),
    unmasked_dims=(16, 16),
    query_head_dim=(4, 4),
    pos_head_dim=(4, 4),
    value_head_dim=(4, 4),
    num_heads=(2, 2),
    feedforward_dims=(24, 32),
    kernels=(7, 7),
    pos_dim=8,
    frontend_channels=(2, 4, 8),
)
TOKENS_PER_SECOND = 3.5  # of LibriSpeech with 500 tokens, about
SAMPLE_RATE = 16000
WORDS = 2000  # from which token sets are made


def random_batch(seconds: Sequence[float], num_features: int, vocab_size: int, seed: int) -> Batch:
    """Noise as features, with random tokens.

    Args:
        seconds: Of each utterance.
        num_features: F.
        vocab_size: V; tokens are drawn from what is not special.
        seed: Of all that is random here.
    """
    generator = torch.Generator().manual_seed(seed)
    features, tokens = [], []
    for length in seconds:
        features.append(torch.randn(round(100 * length), num_features, generator=generator))
        count = max(1, int(length * TOKENS_PER_SECOND))
        drawn = torch.randint(len(SPECIAL_TOKENS), vocab_size, (count,), generator=generator)
        tokens.append(drawn.tolist())
    names = [f"utterance-{i}" for i in range(len(seconds))]
    return collate(features, tokens, names, names)


def spread(seconds: float, longest: float) -> list[float]:
    """Lengths of utterances that a sampler of similar durations could have put together.

    Args:
        seconds: Of all of them, about; there is at least one.
        longest: Of the first; the last has four fifths of it.
    """
    count = max(1, round(seconds / (0.9 * longest)))
    return [longest * (1.0 - 0.2 * i / count) for i in range(count)]


def write_tokenizer(path: Path, vocab_size: int) -> None:
    """Trains a token set on words that no language has; special tokens as a recipe has them."""
    model = io.BytesIO()
    words = _words()
    lines = (" ".join(words[i : i + 8]) for i in range(0, len(words), 8))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        character_coverage=1.0,
        control_symbols=list(SPECIAL_TOKENS[:UNK_ID]),
        unk_id=UNK_ID,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def write_cuts(folder: Path, name: str, count: int, seed: int) -> Path:
    """Writes audio of 1 to 2 s, each with two or three words, and their manifest.

    Every word is a chord of its own letters, so that there is something to learn.
    """
    random = np.random.default_rng(seed)
    words, cuts = _words()[:20], []
    for i in range(count):
        said = list(random.choice(words, size=random.integers(2, 4)))
        sound = np.concatenate([_chord(word, random.uniform(0.5, 0.65)) for word in said])
        sound += 0.01 * random.standard_normal(len(sound))
        path = folder / f"{name}-{i}.wav"
        soundfile.write(path, sound.astype(np.float32), SAMPLE_RATE)
        recording = Recording.from_file(path)
        length = recording.duration
        segment = SupervisionSegment(path.stem, recording.id, 0, length, text=" ".join(said))
        cuts.append(MonoCut(path.stem, 0, length, 0, [segment], recording=recording))
    manifest = folder / f"{name}.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    return manifest


def _words() -> list[str]:
    random = np.random.default_rng(0)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return ["".join(random.choice(syllables, random.integers(1, 5))) for _ in range(WORDS)]


def _chord(word: str, seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = [np.sin(2 * np.pi * 150.0 * (ord(letter) - 96) * time) for letter in word]
    return 0.3 * np.sum(tones, axis=0) / len(tones)
