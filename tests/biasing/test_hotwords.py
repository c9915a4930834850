"""Files of phrases: what a line may be, and what is said of lines that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from trained_digits import trained

from zipformer.biasing import Hotwords, read_hotwords
from zipformer.biasing.biasing import Biasing
from zipformer.search.search import Search, make_searcher
from zipformer.tokens import Tokenizer


@dataclass
class File:
    path: Path
    tokenizer: Tokenizer

    def read(self, *lines: str, score: float = 1.5) -> Hotwords:
        self.path.write_text("\n".join(lines), encoding="utf-8")
        return read_hotwords(self.path, self.tokenizer, score)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "my list.txt", trained().tokenizer)


def scores(hotwords: Hotwords) -> dict[str, float]:
    return {phrase.text: phrase.score for phrase in hotwords.phrases}


def test_a_line_is_a_phrase_and_may_have_a_score(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    found = file.read(
        "one two", "  three \t four   :2.5 ", "", "   ", "five :-1", "six\r", score=2.0
    )
    assert scores(found) == {"one two": 2.0, "three four": 2.5, "five": -1.0, "six": 2.0}
    for phrase in found.phrases:
        assert list(phrase.tokens) == file.tokenizer.encode(phrase.text)
    assert not caplog.records


def test_an_empty_file_is_an_empty_list(file: File) -> None:
    assert file.read("").phrases == ()


def test_a_mark_at_the_beginning_of_the_file_is_no_character(file: File) -> None:
    assert scores(file.read("\ufeffone two")) == {"one two": 1.5}


def test_phrases_that_the_vocabulary_cannot_write_are_named_and_left_out(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    found = file.read("one", "Zürich three :2", "two", "QUARK")
    assert scores(found) == {"one": 1.5, "two": 1.5}
    (message,) = (record.getMessage() for record in caplog.records)
    assert "phrases left out, for this vocabulary cannot write them (2)" in message
    assert "'Zürich three' (Zcü)" in message and "'QUARK' (AKQRU)" in message


def test_of_many_such_phrases_some_are_named(file: File, caplog: pytest.LogCaptureFixture) -> None:
    file.read(*(f"A{i}" for i in range(500)))
    assert "cannot write them (500)" in caplog.text and caplog.text.endswith(" and 490 more\n")
    assert "'A9'" in caplog.text and "'A10'" not in caplog.text


def test_the_larger_of_two_scores_counts_in_any_order_and_is_named(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["one two :1", "one two", "one  two :2.5", "six :1", "six :1"]
    found = file.read(*lines)
    assert scores(found) == {"one two": 2.5, "six": 1.0}
    (message,) = (record.getMessage() for record in caplog.records)
    assert "several scores, of which the largest counts (1): 'one two' (1, 1.5, 2.5)" in (message)
    assert file.read(*reversed(lines)).name == found.name


@pytest.mark.parametrize("line", ["one :two", "one :nan", "one :inf", "one two :1,5"])
def test_a_score_that_is_no_number_is_an_error_with_its_line(file: File, line: str) -> None:
    with pytest.raises(ValueError, match=r"my list.txt, line 2: ':\S+' is no score; write"):
        file.read("six", line)


def test_a_score_without_a_phrase_is_said(file: File, caplog: pytest.LogCaptureFixture) -> None:
    assert file.read("one", ":2.5").phrases[0].text == "one"
    assert "line 2: a score (:2.5) without a phrase" in caplog.text


def test_what_is_no_file_of_phrases_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--hotwords: there is no file .*none.txt"):
        read_hotwords(tmp_path / "none.txt", trained().tokenizer)
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match="photo is no text in UTF-8"):
        read_hotwords(tmp_path / "photo", trained().tokenizer)
    with pytest.raises(ValueError, match="--hotwords-score.* must be a finite number"):
        read_hotwords(tmp_path / "photo", trained().tokenizer, float("nan"))


def test_a_name_tells_lists_apart_and_fits_into_the_name_of_a_folder(file: File) -> None:
    names = {file.read(*lines).name for lines in (["one"], ["two"], ["one :2"], ["one", "two"])}
    assert len(names) == 4
    assert all(name.startswith("my-list-") and "/" not in name for name in names)
    assert file.read("one", "two").name == file.read("two", "", "one").name
    assert file.read("one", score=2.0).name == file.read("one :2").name


@pytest.mark.slow
def test_a_hundred_thousand_phrases_are_read_and_searched_with(file: File) -> None:
    words = "zero one two three four five six seven eight nine".split()
    lines = [" ".join(words[int(digit)] for digit in f"{i:05}") for i in range(100_000)]
    hotwords = file.read(*lines, score=0.5)
    assert len(hotwords.phrases) == 100_000
    assert hotwords.graph.num_nodes == sum(10**n for n in range(6))
    search = Search("modified_beam_search", hotwords=hotwords)
    searcher = make_searcher(trained().model, file.tokenizer.pieces, search)
    encoded = torch.randn(2, 20, trained().model.encoder.config.output_dim)
    assert len(searcher.decode(encoded, torch.tensor([20, 11]))) == 2


def test_a_token_that_emits_nothing_stays_in_the_phrase() -> None:
    hotwords = Hotwords.of("x", [("one two", 1.0)], trained().tokenizer)
    biasing = Biasing(hotwords.vocabulary, (0, 2), torch.device("cpu"))
    root = torch.tensor([[biasing.root(hotwords)]])
    first, second = hotwords.phrases[0].tokens
    node, earned = biasing.go_on(root, torch.tensor([[first]]))
    assert float(earned) == 0.0 and float(biasing.promise(node)) == 1.0
    worth = biasing.worth(node)[0, 0]
    assert worth[[0, 2, second, first]].tolist() == [1.0, 1.0, 2.0, 1.0]
    assert float(worth.sum()) == 5.0  # and no other token is worth anything
    assert torch.equal(biasing.go_on(node, torch.tensor([[-1]]))[0], node)
    assert float(biasing.go_on(node, torch.tensor([[second]]))[1]) == 2.0
