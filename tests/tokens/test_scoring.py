"""What is scored: both texts by the same rules, so that a perfect hypothesis has no error."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from tiny_run import train_tokenizer

from local.train_bpe import train_characters
from zipformer.config import ScoringConfig
from zipformer.tokens import Tokenizer, byte_level, open_tokenizer
from zipformer.tokens.scoring import Scorer, read_glm, unit_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(tmp_path_factory.mktemp("tokens"))


def units(tokenizer: Tokenizer, text: str, **rules: object) -> list[str]:
    return list(Scorer(ScoringConfig(**rules), tokenizer).units(text))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("word", ["ab", "你好cd", "かな", "e"]),
        ("char", ["a", "b", "你", "好", "c", "d", "か", "な", "e"]),
        ("auto", ["ab", "你", "好", "cd", "か", "な", "e"]),
    ],
)
def test_units(tokenizer: Tokenizer, unit: str, expected: list[str]) -> None:
    assert units(tokenizer, "  ab 你好cd  かな e", unit=unit) == expected


def test_words_of_scripts_with_blanks_are_as_they_were(tokenizer: Tokenizer) -> None:
    """So error rates of English, German or Korean do not change."""
    for text in ("THE CAT'S HAT", "größer  als\tje", "안녕 하세요", "été - déjà"):
        assert units(tokenizer, text) == text.split()


@pytest.mark.parametrize(
    "text",
    [
        unicodedata.normalize("NFD", "größe élan"),
        "ｆｕｌｌ　ｗｉｄｔｈ １２",
        "นํ้า ที่ กิน",  # with a vowel in two parts, which NFKC puts together
        "ﬁne ﬂat",
        "½ a mile",
        "a\u200bb c\ufeff d",
        "你 好 吗",
    ],
)
def test_a_perfect_hypothesis_has_no_error(text: str, tmp_path: Path) -> None:
    """Whatever a vocabulary makes of a text, what it writes back is what was said."""
    (tmp_path / "bpe.model").write_bytes(train_characters([text] * 20))
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    perfect = tokenizer.decode(tokenizer.encode(text))
    for unit in ("word", "char", "auto"):
        said, heard = Scorer(ScoringConfig(unit=unit), tokenizer).pair(text, perfect)  # type: ignore[arg-type]
        if unit == "word" and "你" in text:
            continue  # a vocabulary writes no blanks between such characters
        assert said and said == heard


def test_a_list_of_tokens_normalises_too(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<blk> 0\n<sos/eos> 1\n<unk> 2\n½ 3\n")
    tokenizer = open_tokenizer(tmp_path / "tokens.txt")
    assert units(tokenizer, "１½") == units(tokenizer, "11⁄2")


def test_rules_are_applied_in_their_order(tokenizer: Tokenizer, tmp_path: Path) -> None:
    glm = tmp_path / "glm"
    glm.write_text(
        ';; a comment\n* name "x"\ngonna => going to ; why\n[i am] => [i\'m] / [ ] __ [ ]\nuh =>\n'
    )
    text = "I AM, uh, gonna SAY 'don't' -- um x-ray."
    assert units(tokenizer, text) == text.split()
    assert units(tokenizer, text, lowercase=True, drop_punctuation=True, drop=("um",)) == (
        "i am uh gonna say don't x-ray".split()
    )
    # Lower case comes before the mapping, the mapping before punctuation.
    assert units(tokenizer, "I AM GONNA", lowercase=True, glm=glm) == "i'm going to".split()
    assert units(tokenizer, "I AM", glm=glm) == ["I", "AM"]
    assert units(tokenizer, "uh one", glm=glm) == ["one"]


def test_dropped_words_pass_the_rules_themselves(tokenizer: Tokenizer) -> None:
    assert units(tokenizer, "Um one UM", lowercase=True, drop=("UM",)) == ["one"]


@pytest.mark.parametrize("line", ["a -> b", "a => b / [x] __ [ ]", "{a / b} => c", "=> b"])
def test_a_rule_that_is_not_understood_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "glm").write_text(f"one => two\n{line}\n")
    with pytest.raises(ValueError, match=r"scoring\.glm: .*glm, line 2"):
        read_glm(tmp_path / "glm")
    with pytest.raises(ValueError, match=r"scoring\.glm: .* cannot be read"):
        read_glm(tmp_path / "gone")


def test_compounds_are_written_as_they_were_said(tokenizer: Tokenizer) -> None:
    plain, merged = (Scorer(ScoringConfig(merge_compounds=m), tokenizer) for m in (False, True))
    said, heard = "a black bird sang in the doorway", "a blackbird sang in a door way"
    assert plain.pair(said, heard)[1] == tuple(heard.split())
    assert merged.pair(said, heard) == (
        tuple(said.split()),
        tuple("a black bird sang in a doorway".split()),
    )
    assert merged.pair("one two", "two one") == (("one", "two"), ("two", "one"))


def test_a_missing_normalizer_names_the_package(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "whisper_normalizer", None)
    with pytest.raises(ImportError, match=r"scoring\.whisper = 'basic' needs the package"):
        Scorer(ScoringConfig(whisper="basic"), tokenizer)


@pytest.mark.parametrize(
    ("unit", "said", "expected"),
    [
        ("auto", [["one", "two"], []], "word"),
        ("auto", [["你"], ["好"]], "char"),
        ("auto", [["你"], ["ok"]], "mixed"),
        ("auto", [["你", ","], ["。", "-"]], "char"),
        ("auto", [["one", "。"], ["-"]], "word"),
        ("auto", [], "word"),
        ("char", [["a"]], "char"),
        ("word", [["你"]], "word"),
    ],
)
def test_the_unit_of_a_set_is_what_its_references_hold(
    unit: str, said: list[list[str]], expected: str
) -> None:
    assert unit_of(ScoringConfig(unit=unit), said) == expected  # type: ignore[arg-type]


def test_a_typographic_apostrophe_stays_itself(tokenizer: Tokenizer) -> None:
    text = "\u2018don\u2019t\u2019 \u2014 x-ray"
    assert units(tokenizer, text, drop_punctuation=True) == ["don\u2019t", "x-ray"]


@pytest.mark.parametrize("unit", ["auto", "char", "word"])
def test_a_perfect_hypothesis_of_bytes_has_no_error(unit: str, tmp_path: Path) -> None:
    """Full-width letters stand alone between blanks in such a vocabulary."""
    text = "\uff46\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44 one"
    (tmp_path / "bbpe.model").write_bytes(train_characters([byte_level.encode(text)] * 20))
    tokenizer = open_tokenizer(tmp_path / "bbpe.model")
    perfect = tokenizer.decode(tokenizer.encode(text))
    said, heard = Scorer(ScoringConfig(unit=unit), tokenizer).pair(text, perfect)  # type: ignore[arg-type]
    assert said and said == heard
