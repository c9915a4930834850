"""Vocabularies, and a run to start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sentencepiece
from checkpoint.sources import fresh, write_checkpoint
from training.tiny_corpus import WORDS, write_tokenizer

from zipformer.tokens import Tokenizer, open_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("lang") / "bpe.model"
    write_tokenizer(path)
    return open_tokenizer(path)


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A vocabulary with some tokens of the other one, at other places, and some of its own."""
    path = tmp_path_factory.mktemp("lang") / "bpe.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(reversed(WORDS)), "a quick dog jumps"] * 20),
        model_prefix=str(path.with_suffix("")),
        model_type="char",
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return open_tokenizer(path)


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """The folder of a run with the weights of ``fresh(1)`` after its first epoch."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copyfile(tokenizer.path, folder / "bpe.model")
    write_checkpoint(folder / "epoch-1.pt", fresh(1), snapshots=2)
    return folder
