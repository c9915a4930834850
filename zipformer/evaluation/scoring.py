"""Word errors: how hypotheses differ from references, counted over a whole test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kaldialign import align

from zipformer.checkpoint.fingerprint import fingerprint
from zipformer.tokens.scoring import Scorer

GAP = ""  # stands for "no word" in an alignment; no word is empty


@dataclass(frozen=True)
class Utterance:
    """One scored utterance.

    Args:
        cut_id: Its name in the manifest.
        reference: What was said, in words, or whatever else is scored.
        hypothesis: What was heard, in the same.
    """

    cut_id: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]

    @classmethod
    def of_texts(cls, cut_id: str, reference: str, hypothesis: str) -> Utterance:
        """Splits both texts at blanks; nothing else is normalised."""
        return cls(cut_id, tuple(reference.split()), tuple(hypothesis.split()))

    @classmethod
    def scored(cls, scorer: Scorer, cut_id: str, reference: str, hypothesis: str) -> Utterance:
        """Cuts both texts into what a model's config says is scored."""
        return cls(cut_id, *scorer.pair(reference, hypothesis))

    def alignment(self) -> list[tuple[str, str]]:
        """Pairs (reference word, hypothesis word) with the fewest errors; ``GAP`` for none."""
        return align_words(self.reference, self.hypothesis)


@dataclass(frozen=True)
class WordErrors:
    """Counts of word errors; they add up over utterances.

    Args:
        insertions: Words heard that nobody said.
        deletions: Words said that were not heard.
        substitutions: Words heard as others.
        words: Words said.

    Example:
        >>> word_errors("one two three".split(), "one too three four".split())
        WordErrors(insertions=1, deletions=0, substitutions=1, words=3)
    """

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    words: int = 0

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.words + other.words,
        )

    @property
    def errors(self) -> int:
        """Errors of all kinds."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def correct(self) -> int:
        """Words heard as they were said."""
        return self.words - self.deletions - self.substitutions

    @property
    def wer(self) -> float:
        """Errors in percent of the words said; it may exceed 100, and is NaN if none were said."""
        return 100.0 * self.errors / self.words if self.words else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.wer:.2f} % [{self.errors} / {self.words}: {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub]"
        )


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (reference word, hypothesis word) with the fewest errors; ``GAP`` for none."""
    return align(list(reference), list(hypothesis), GAP)


def count_errors(alignment: Iterable[tuple[str, str]]) -> WordErrors:
    """The errors in an alignment."""
    insertions = deletions = substitutions = words = 0
    for said, heard in alignment:
        words += said != GAP
        insertions += said == GAP
        deletions += heard == GAP
        substitutions += GAP not in (said, heard) and said != heard
    return WordErrors(insertions, deletions, substitutions, words)


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """The errors of one utterance."""
    return count_errors(align_words(reference, hypothesis))


def total_errors(utterances: Iterable[Utterance]) -> WordErrors:
    """The errors of a whole set, long utterances weighing more than short ones."""
    return sum((count_errors(u.alignment()) for u in utterances), WordErrors())


def references_fingerprint(utterances: Iterable[Utterance]) -> str:
    """Of a test set: the names of its utterances and what was said in them."""
    return fingerprint((u.cut_id, " ".join(u.reference)) for u in utterances)
