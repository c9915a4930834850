import pickle
from pathlib import Path

import pytest
import sentencepiece as spm
from data.small_corpus import WORDS, make_tokenizer

from zipformer.tokens import Tokenizer, open_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return make_tokenizer(tmp_path)


def test_the_first_ids_are_blank_sos_and_unknown(tokenizer: Tokenizer) -> None:
    assert tokenizer.tokens[:3] == ["<blk>", "<sos/eos>", "<unk>"]
    assert (tokenizer.blank_id, tokenizer.unk_id) == (0, 2)
    assert len(tokenizer.tokens) == tokenizer.vocab_size


def test_decoding_undoes_encoding(tokenizer: Tokenizer) -> None:
    text = " ".join(WORDS)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert min(ids) > 2


def test_blanks_leave_no_trace_in_the_text(tokenizer: Tokenizer) -> None:
    one, two = tokenizer.encode("one"), tokenizer.encode("two")
    assert tokenizer.decode([0, *one, 0, 0, 1, *two, 0]) == "one two"


def test_the_names_of_special_tokens_are_no_tokens_in_a_text(tokenizer: Tokenizer) -> None:
    assert not {0, 1} & set(tokenizer.encode("<blk> one <sos/eos>"))


def test_unknown_characters_are_those_that_no_token_holds(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown_characters("four  five\tzero") == set()
    assert tokenizer.unknown_characters("Four, five") == {"F", ","}


def test_a_tokenizer_survives_pickling(tokenizer: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.tokens == tokenizer.tokens
    assert copy.encode("two one") == tokenizer.encode("two one")


def test_a_missing_model_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.model.*prepare\.sh"):
        open_tokenizer(tmp_path / "nowhere.model")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bpe.model"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"bpe\.model is not a sentencepiece model"):
        open_tokenizer(path)


def test_a_model_with_other_special_tokens_is_refused(tmp_path: Path) -> None:
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two"] * 9),
        model_prefix=str(tmp_path / "other"),
        vocab_size=12,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with pytest.raises(ValueError, match=r"<unk>.*have the blank \(<blk>"):
        open_tokenizer(tmp_path / "other.model")
