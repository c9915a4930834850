"""recipes/digits/significance.py: recordings are what is drawn anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts, write_manifest
from lhotse import CutSet
from lhotse.utils import fastcopy

from recipes.digits.significance import compare
from zipformer.evaluation.resampling import errors_of_words
from zipformer.evaluation.results import RECOGNIZED
from zipformer.evaluation.scoring import Utterance

WORDS = "one two three four five six seven eight nine".split()


def make_set(folder: Path, cuts: int, takes: int) -> tuple[Path, list[list[str]]]:
    """Strings of four words by two speakers, each word one of so many takes."""
    rng, made, said = np.random.default_rng(0), make_cuts(folder / "audio", [0.3] * cuts), []
    for i, cut in enumerate(made):
        said.append([WORDS[k] for k in rng.integers(0, 9, 4)])
        cut.supervisions[0].text = " ".join(said[-1])
        cut.supervisions[0].speaker = "ab"[i % 2]
        cut.custom = {"takes": rng.integers(0, takes, 4).tolist()}
    return write_manifest(folder / "cuts.jsonl.gz", made), said


def write_heard(folder: Path, manifest: Path, said: list[list[str]], wrong: float) -> Path:
    """A result in which so many words are not heard."""
    rng, lines = np.random.default_rng(int(1000 * wrong)), []
    for cut, words in zip(CutSet.from_file(manifest), said, strict=True):
        heard = [word for word in words if rng.random() >= wrong]
        lines += [f"{cut.id}:\tref={words}", f"{cut.id}:\thyp={heard}"]
    folder.mkdir()
    (folder / RECOGNIZED).write_text("\n".join(lines) + "\n")
    return folder


def test_every_error_belongs_to_a_word_that_was_said() -> None:
    heard = Utterance.of_texts("a", "one two three four", "nine one six three four four")
    assert errors_of_words(heard).tolist() == [1.0, 1.0, 0.0, 1.0]
    assert errors_of_words(Utterance.of_texts("a", "one two", "two")).tolist() == [1.0, 0.0]


def test_a_large_difference_is_significant_and_none_is_not(tmp_path: Path) -> None:
    manifest, said = make_set(tmp_path, 60, 5)
    good = write_heard(tmp_path / "good", manifest, said, 0.02)
    bad = write_heard(tmp_path / "bad", manifest, said, 0.2)
    found = compare([bad], [good], manifest, draws=500)
    assert found.low < found.a - found.b < found.high
    assert found.low > 0 and str(found).endswith(", significant")
    same = compare([bad, good], [good, bad], manifest, draws=500)
    assert (same.low, same.high) == (0.0, 0.0) and str(same).endswith("not significant")
    assert same.a == pytest.approx((found.a + found.b) / 2)


def test_hearing_the_same_recordings_twice_says_nothing_more(tmp_path: Path) -> None:
    """The interval stays as wide as it was; for words as units it would shrink."""
    manifest, said = make_set(tmp_path, 40, 5)
    results = [write_heard(tmp_path / f"{w}", manifest, said, w) for w in (0.1, 0.2)]
    once = compare(results[:1], results[1:], manifest, draws=500)
    cuts = list(CutSet.from_file(manifest))
    for cut in list(cuts):
        cuts.append(fastcopy(cut, id=f"{cut.id}-again"))
    for result in results:
        lines = (result / RECOGNIZED).read_text().splitlines()
        again = [line.replace(":\t", "-again:\t") for line in lines]
        (result / RECOGNIZED).write_text("\n".join(lines + again) + "\n")
    twice = compare(results[:1], results[1:], write_manifest(manifest, cuts), draws=500)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert once.high - once.low > 1.0


def test_results_on_another_set_are_refused(tmp_path: Path) -> None:
    manifest, said = make_set(tmp_path, 4, 5)
    result = write_heard(tmp_path / "heard", manifest, said, 0.1)
    other, _ = make_set(tmp_path / "other", 3, 5)
    with pytest.raises(ValueError, match="on other cuts than those of the manifest"):
        compare([result], [result], other)
    plain = write_manifest(tmp_path / "plain.jsonl.gz", make_cuts(tmp_path / "p", [0.3]))
    with pytest.raises(ValueError, match="does not say which takes"):
        compare([result], [result], plain)
