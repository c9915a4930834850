"""local/train_bpe.py: a step of data preparation that recipes share."""

from itertools import permutations
from pathlib import Path

import pytest
from data.small_corpus import WORDS
from preparation.steps import run_script

from local.train_bpe import train_bpe, train_characters
from zipformer.tokens import open_tokenizer


def texts() -> list[str]:
    return [" ".join(order) for order in permutations(WORDS, 3)]


def test_a_token_set_is_the_same_every_time() -> None:
    assert train_bpe(texts(), 20)[0] == train_bpe(texts(), 20)[0]


def test_a_token_set_has_the_size_asked_for_or_what_the_text_carries(tmp_path: Path) -> None:
    for wanted in (20, 500):
        model, size = train_bpe(texts(), wanted)
        (tmp_path / "bpe.model").write_bytes(model)
        tokenizer = open_tokenizer(tmp_path / "bpe.model")
        assert tokenizer.vocab_size == size
        assert size == 20 if wanted == 20 else 20 < size < 500
        assert all(tokenizer.decode(tokenizer.encode(t)) == t for t in texts())


def test_too_small_a_token_set_says_the_smallest_possible() -> None:
    with pytest.raises(ValueError, match="needs at least (\\d+)") as caught:
        train_bpe(texts(), 7)
    smallest = int(str(caught.value).split("at least ")[1].split(",")[0])
    assert train_bpe(texts(), smallest)[1] == smallest
    with pytest.raises(ValueError):
        train_bpe(texts(), smallest - 1)


def test_a_token_set_needs_text() -> None:
    with pytest.raises(ValueError, match="no text"):
        train_bpe(["", "  "], 20)


def test_the_command_says_that_it_lowered_the_size(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(texts()))
    command = ["local/train_bpe.py", "--text", tmp_path / "text", "--vocab-size", "400"]
    done = run_script(*command, "--out", tmp_path / "lang/bpe.model")
    assert done.returncode == 0, done.stderr
    assert "400 were asked for" in done.stdout
    assert open_tokenizer(tmp_path / "lang/bpe.model").vocab_size < 400


def test_the_command_can_insist_on_the_size(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(texts()))
    command = ("local/train_bpe.py", "--text", tmp_path / "text", "--exact")
    done = run_script(*command, "--vocab-size", "400", "--out", tmp_path / "lang/bpe.model")
    assert done.returncode == 1
    assert not (tmp_path / "lang/bpe.model").exists()
    possible = done.stderr.split("--vocab-size ")[1].split()[0]
    done = run_script(*command, "--vocab-size", possible, "--out", tmp_path / "lang/bpe.model")
    assert done.returncode == 0, done.stderr


def test_characters_are_tokens_and_words_among_them_are_cut_into_pieces(tmp_path: Path) -> None:
    mixed = [f"\u4f60\u597d{word}\u4e16" for word in [*texts(), *[" HELLO "] * 20, ""]]
    (tmp_path / "bpe.model").write_bytes(train_characters(mixed, word_pieces=60))
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    for text in ("\u4f60\u597d", "\u4f60 HELLO \u597d\u4e16", "\u4e16\u4e16 HELLO"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert len(ids) == len(text.replace("HELLO", "H"))  # one token
        han = [tokenizer.tokens[i] for i in ids if any("\u4e00" <= c for c in tokenizer.tokens[i])]
        assert han == [c for c in text if "\u4e00" <= c]


def test_without_words_pieces_change_nothing() -> None:
    alone = ["\u4f60\u597d", "\u4e16"]
    assert train_characters(alone, word_pieces=60) == train_characters(alone)


def test_blanks_around_a_word_are_written_though_no_text_has_two_words(tmp_path: Path) -> None:
    text = "\u4f60 HI \u597d"
    (tmp_path / "bpe.model").write_bytes(train_characters([text] * 9, word_pieces=20))
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    assert tokenizer.decode(tokenizer.encode(text)) == text
