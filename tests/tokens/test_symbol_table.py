"""Lists of tokens, as they lie beside published models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zipformer.tokens import open_tokenizer


def tokens_txt(folder: Path, tokens: list[str], name: str = "tokens.txt") -> Path:
    path = folder / name
    path.write_text("".join(f"{t} {i}\n" for i, t in enumerate(tokens)), encoding="utf-8")
    return path


def test_pieces_of_words_are_joined_at_their_blanks(tmp_path: Path) -> None:
    path = tokens_txt(tmp_path, ["<blk>", "<sos/eos>", "<unk>", "▁HE", "LLO", "▁", "<0xC3>"])
    tokenizer = open_tokenizer(path)
    assert tokenizer.decode([3, 4, 0, 2, 3, 1, 4]) == "HELLO HELLO"
    assert tokenizer.vocab_size == 7
    assert tokenizer.unk_id == 2


def test_characters_are_written_without_blanks_and_words_with_them(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(tokens_txt(tmp_path, ["<blk>", "你", "好", "YES", "NO", "<unk>"]))
    assert tokenizer.decode([1, 2, 1]) == "你好你"
    assert tokenizer.decode([3, 4, 3]) == "YES NO YES"
    assert tokenizer.decode([1, 3, 4, 2, 2]) == "你 YES NO好好"
    assert tokenizer.unk_id == 5


def test_special_tokens_go_by_name(tmp_path: Path) -> None:
    path = tmp_path / "zh-en.vocab"
    tokens = [
        "<blk>",
        "<sos>",
        "<eos>",
        "<pad>",
        "<unk>",
        "<0xE4>",
        "<0xBD>",
        "<0xA0>",
        "你",
        "▁hi",
    ]
    path.write_text("".join(f"{t}\t-{i}.5e-2\n" for i, t in enumerate(tokens)), encoding="utf-8")
    tokenizer = open_tokenizer(path)
    assert tokenizer.tokens == tokens
    assert tokenizer.decode([1, 8, 3, 9, 4, 2, 5, 6, 7]) == "你 hi你"
    assert tokenizer.unk_id == 4


def test_a_link_into_a_cache_is_of_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    blobs, lang = tmp_path / "blobs", tmp_path / "lang_bbpe_4"
    blobs.mkdir()
    lang.mkdir()
    tokens = ["<blk>", "\u2581\u018b", "\u0163", "\u0145"]
    (lang / "tokens.txt").symlink_to(tokens_txt(blobs, tokens, "0123"))
    assert open_tokenizer(lang / "tokens.txt").decode([1, 2, 3]) == "\u4f60"


def test_an_attention_decoder_needs_its_token_at_its_place(tmp_path: Path) -> None:
    open_tokenizer(tokens_txt(tmp_path, ["<blk>", "<sos/eos>", "<unk>"])).check_sentences()
    with pytest.raises(ValueError, match="takes token 1 for <sos/eos>, which is '<sos>' here"):
        open_tokenizer(tokens_txt(tmp_path, ["<blk>", "<sos>", "<eos>"])).check_sentences()


def test_symbols_behind_the_tokens_are_left_out(tmp_path: Path) -> None:
    assert open_tokenizer(tokens_txt(tmp_path, ["<blk>", "▁A", "#0", "#1"])).vocab_size == 2


def test_a_blank_and_a_number_sign_may_be_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n▁a 1\n# 2\n  3\n\u2028 4\n", encoding="utf-8")
    assert open_tokenizer(path).tokens == ["<blk>", "▁a", "#", " ", "\u2028"]


def test_a_list_does_not_cut_text(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(tokens_txt(tmp_path, ["<blk>", "▁A"]))
    with pytest.raises(ValueError, match=r"tokens\.txt is a list.*bpe\.model"):
        tokenizer.encode("A")
    with pytest.raises(ValueError, match="is a list"):
        tokenizer.normalize("A")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokens.txt", "<blk> 0\nhello\n", "line 2: 'hello' is not 'token id'"),
        ("tokens.txt", "<blk> 0\na 2\n", "without a gap; 1 is missing"),
        ("tokens.txt", "<blk> 0\na 0\n", "line 2: the id 0 is there twice"),
        ("tokens.txt", "", "0 is missing"),
        ("tokens.txt", "a 0\n<blk> 1\n", r"begins with the tokens \['a', '<blk>'\]"),
        ("x.vocab", "<blk>\t0\na b\n", "line 2: 'a b' is not 'token<TAB>score'"),
        ("x.vocab", "", r"begins with the tokens \[\]"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / name)) + ".*" + message):
        open_tokenizer(tmp_path / name)


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_bytes(b"\xff\xfe<\x00")
    with pytest.raises(ValueError, match=r"tokens\.txt is no list of tokens: it is not UTF-8"):
        open_tokenizer(tmp_path / "tokens.txt")


def test_a_vocabulary_cuts_text_where_the_package_for_it_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "small.vocab"
    path.write_text("<blk>\t0\n<unk>\t0\n▁hi\t-1.0\n▁you\t-2.0\n", encoding="utf-8")
    tokenizer = open_tokenizer(path)
    try:
        import ssentencepiece  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="pip install simple-sentencepiece"):
            tokenizer.encode("hi you")
        return
    assert tokenizer.encode("hi you") == [2, 3]
    assert tokenizer.decode(tokenizer.encode("hi you")) == "hi you"
