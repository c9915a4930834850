"""Common Voice in its layout: a folder for each language, tables and clips."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from recipes.miniature import WORDS, run_recipe, spoken

from recipes.commonvoice.commonvoice import choose_language, read_table, text_rule

SETS = {"george": "train", "jackson": "train", "lucas": "dev", "theo": "test"}
HEADER = "client_id\tpath\tsentence\tup_votes\n"  # as in early releases


def write_corpus(folder: Path) -> Path:
    """A language, en, and one without validated clips, xx."""
    (folder / "en" / "clips").mkdir(parents=True)
    tables = {name: [HEADER] for name in ("train", "dev", "test")}
    for one in spoken(6):
        clip = f"common_voice_en_{one.speaker}{one.number}.mp3"
        soundfile.write(folder / "en" / "clips" / clip, one.samples, 16000, format="MP3")
        sentence = ", ".join(WORDS[digit] for digit in one.digits).capitalize()
        tables[SETS[one.speaker]].append(f'{one.speaker}\t{clip}\t"{sentence}!\t2\n')
    tables["train"].append("someone\tgone.mp3\tIt’s not there.\t2\n")
    for name, lines in tables.items():
        (folder / "en" / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "xx").mkdir()
    for name, lines in (("train", [HEADER]), ("other", [HEADER, "a\tb.mp3\tc\t0\n"])):
        (folder / "xx" / f"{name}.tsv").write_text("".join(lines))
    return folder


@pytest.mark.slow
def test_from_clips_to_word_error_rates(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    damaged = corpus / "en" / "clips" / "common_voice_en_george0.mp3"
    damaged.write_bytes(b"")
    options = ("--language", "en", "--speed-factors", "1.0", "--vocab-size", "30")
    chain = run_recipe("commonvoice", corpus, tmp_path, "lang/bpe.model", "dev", "test", *options)
    assert "train: 11 utterances" in chain.printed
    assert "left out 1: no audio file: gone" in chain.printed
    assert "left out 1: empty audio file: common_voice_en_george0" in chain.printed
    texts = chain.texts("commonvoice", "train").values()
    assert all(set(text.split()) <= set(WORDS) for text in texts)
    assert all(r["words"] == 24 for r in chain.results)


@pytest.mark.parametrize(
    ("sentence", "spoken_as"),
    [
        ("«It’s  time!», she said - ‘now’.", "it's time she said now"),
        ("Überstraße, 7", "überstraße 7"),
        ("हिन्दी में।", "हिन्दी में"),  # vowel signs are no punctuation
        ("- ... !", ""),
    ],
)
def test_what_is_spoken_of_a_sentence(sentence: str, spoken_as: str) -> None:
    assert text_rule(sentence) == spoken_as


def test_a_language_that_is_empty_or_absent_is_refused_naming_what_is_there(
    tmp_path: Path,
) -> None:
    corpus = write_corpus(tmp_path)
    with pytest.raises(ValueError, match=r"no cy; there are en, xx"):
        choose_language(corpus, "cy", corpus)
    with pytest.raises(ValueError, match=r"name one with --language; there are en, xx"):
        choose_language(corpus, "", corpus)
    with pytest.raises(ValueError, match=r"no utterances in train.tsv.*train.tsv 0, other.tsv 1"):
        choose_language(corpus, "xx", corpus)
    assert choose_language(corpus, "", corpus / "en") == "en"


def test_lines_that_are_none_are_named_with_their_numbers(tmp_path: Path) -> None:
    table = tmp_path / "train.tsv"
    table.write_text("path\tsentence\na\tone\nb\nc\t...\na\ttwo\nd.mp3\tthree\n")
    utterances, skipped = read_table(table)
    assert [(u.name, u.audio.name) for u in utterances] == [("a", "a.mp3"), ("d", "d.mp3")]
    assert [s.source.rpartition(":")[2] for s in skipped] == ["3", "4", "5"]
    table.write_text("path\ttext\n")
    with pytest.raises(ValueError, match=r"train.tsv:1: no column sentence"):
        read_table(table)
