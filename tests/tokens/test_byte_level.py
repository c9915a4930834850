"""Byte-level BPE: text of any script through stand-ins for its bytes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import sentencepiece as spm
from hypothesis import given
from hypothesis import strategies as st

from zipformer.tokens import Tokenizer, open_tokenizer
from zipformer.tokens.byte_level import STAND_INS, encode, piece
from zipformer.tokens.pieces import text_of_tokens

LINES = ["你好世界", "今天天气很好", "hello world", "你说 hello", "mañana über"] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of bytes, as it lies in a published ``lang_bbpe_N``, with its list of tokens."""
    folder = tmp_path_factory.mktemp("lang_bbpe_300")
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter([encode(line) for line in LINES]),
        model_prefix=str(folder / "bbpe"),
        model_type="bpe",
        vocab_size=300,
        character_coverage=1.0,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        required_chars="".join(STAND_INS).replace(" ", ""),
        max_sentence_length=10000,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "bbpe.vocab").unlink()
    model = spm.SentencePieceProcessor(model_file=str(folder / "bbpe.model"))
    tokens = [model.IdToPiece(i) for i in range(model.GetPieceSize())]
    lines = "".join(f"{token} {i}\n" for i, token in enumerate(tokens))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return open_tokenizer(folder / "bbpe.model")


def test_there_is_a_stand_in_for_every_byte_and_ascii_is_its_own() -> None:
    assert len(set(STAND_INS)) == 256
    assert all(STAND_INS[byte] == chr(byte) for byte in range(32, 127))
    # As published recipes have them, at the ends of the ranges.
    published = {0: 256, 31: 287, 127: 288, 144: 305, 145: 308, 156: 321, 164: 330, 255: 422}
    assert {byte: ord(STAND_INS[byte]) for byte in published} == published


@given(st.text(max_size=12))
def test_encoding_and_writing_give_the_text_back(text: str) -> None:
    pieces = [piece("\u2581" + word) for word in encode(text).split()]
    written = text_of_tokens(range(len(pieces)), pieces)
    assert written.replace(" ", "") == "".join(text.split()).replace("\u2581", "")


@pytest.mark.parametrize("text", ["你好世界", "hello world", "你说 hello", "mañana über"])
def test_text_goes_there_and_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert len(ids) > 1
    assert tokenizer.decode(ids) == text


def test_an_unfinished_character_is_not_written(tokenizer: Tokenizer) -> None:
    byte = tokenizer.tokens.index(STAND_INS[0xE4])
    one = tokenizer.encode("hello")
    assert tokenizer.decode([*one, byte]) == "hello"
    assert tokenizer.decode([byte, *one]).strip() == "hello"


def test_the_list_of_tokens_writes_the_same(tokenizer: Tokenizer, folder: Path) -> None:
    ids = tokenizer.encode("你说 hello mañana")
    assert open_tokenizer(folder / "tokens.txt").decode(ids) == tokenizer.decode(ids)


def test_it_survives_pickling(tokenizer: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode("你好") == tokenizer.encode("你好")


def test_characters_that_no_token_holds(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown_characters("你好 hello") == set()
