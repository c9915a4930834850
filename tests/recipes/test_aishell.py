"""AISHELL-1 in its layout becomes a model of characters, scored by characters."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet
from recipes.miniature import ROOT, spoken, train_and_decode
from recipes.prepared import prepare

from zipformer.tokens import open_tokenizer

DIGITS = "零一二三四五六七八九"
SETS = {"george": "train", "jackson": "train", "lucas": "dev", "theo": "test"}


def write_corpus(folder: Path) -> Path:
    """data_aishell as its archive unpacks: files by set and speaker, one list of transcripts."""
    lines = []
    for said in spoken(6):
        name = f"BAC009{said.speaker}W{said.number:04d}"
        path = folder / "data_aishell" / "wav" / SETS[said.speaker] / said.speaker / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, said.samples, 16000)
        characters = [DIGITS[d] for d in said.digits]
        lines.append(f"{name} {characters[0]}{characters[1]} {''.join(characters[2:])}\n")
    transcript = folder / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"
    transcript.parent.mkdir()
    transcript.write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_from_the_corpus_to_character_error_rates(tmp_path: Path) -> None:
    corpus, data = write_corpus(tmp_path / "corpus"), tmp_path / "data"
    damaged = next(corpus.glob("data_aishell/wav/train/george/*.wav"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    options = ["--corpus-dir", corpus, "--data-dir", data, "--num-jobs", "1"]
    printed = prepare("aishell", *options, "--speed-factors", "1.0")
    assert "train: 11 utterances" in printed and "left out 1: too short" in printed
    cuts = list(CutSet.from_file(data / "fbank" / "aishell_cuts_train.jsonl.gz"))
    assert all(" " not in cut.supervisions[0].text for cut in cuts)
    tokenizer = open_tokenizer(data / "lang_char" / "bpe.model")
    text = cuts[0].supervisions[0].text
    assert len(tokenizer.encode(text)) == len(text) == 4
    assert tokenizer.decode(tokenizer.encode(text)) == text
    results = train_and_decode(
        ROOT / "recipes/aishell/medium.toml",
        tmp_path / "exp",
        **{
            "data.train": data / "fbank" / "aishell_cuts_train.jsonl.gz",
            "data.valid": data / "fbank" / "aishell_cuts_dev.jsonl.gz",
            "data.test": f"test={data}/fbank/aishell_cuts_test.jsonl.gz",
            "data.bpe_model": data / "lang_char" / "bpe.model",
        },
    )
    assert all(r["unit"] == "char" and r["cer"] == r["wer"] and r["words"] == 24 for r in results)
    again = prepare("aishell", *options, "--speed-factors", "1.0")
    assert again.count("done before, skipped") == 4


def test_another_corpus_is_refused_saying_what_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "dev-clean").mkdir()
    options = ["--corpus-dir", tmp_path, "--data-dir", tmp_path / "data"]
    printed = prepare("aishell", *options, fails=True)
    assert "holds no AISHELL-1" in printed and "looks like LibriSpeech" in printed
    (tmp_path / "other" / "data_aishell" / "wav").mkdir(parents=True)
    printed = prepare(
        "aishell", "--corpus-dir", tmp_path / "other", "--data-dir", tmp_path / "data", fails=True
    )
    assert "is not what this recipe reads" in printed and "aishell_transcript" in printed
