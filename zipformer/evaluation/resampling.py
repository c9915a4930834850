"""Whether two ways to recognise differ, or only in which utterances the test set happened on.

A test set is drawn anew many times, with replacement, and the difference of the error rates is read
off each (Bisani and Ney, ICASSP 2004). Both sides hear the same drawn set. What is drawn are
utterances, or smaller units where these are strung together from recordings that occur again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zipformer.evaluation.scoring import GAP, Utterance, count_errors

# What is drawn, after the group within which it is drawn: (speaker, word, take), or ("", cut).
Unit = tuple[str | int, ...]
DRAWN_AT_ONCE = 10_000_000  # units of all sets that are drawn together; bounds the memory


@dataclass(frozen=True)
class Difference:
    """Word error rates of two sides in percent, and the interval of their difference.

    Args:
        a, b: Of the whole set.
        low, high: Of ``a - b``, between which 95 % of the resampled sets lie.
    """

    a: float
    b: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    @property
    def interval(self) -> str:
        """The difference and its interval."""
        return f"{self.a - self.b:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    def __str__(self) -> str:
        clear = "significant" if self.is_significant else "not significant"
        return f"{self.a:.2f} % against {self.b:.2f} %: {self.interval}, {clear}"


def errors_of_words(utterance: Utterance) -> np.ndarray:
    """(words,) errors at each word that was said; an insertion counts at the word before it."""
    errors = np.zeros(max(len(utterance.reference), 1))
    word = -1
    for said, heard in utterance.alignment():
        word += said != GAP
        errors[max(word, 0)] += said != heard
    return errors[: len(utterance.reference)]


def interval(utterances: Sequence[Utterance], draws: int = 10000, seed: int = 0) -> Difference:
    """The error rate of one result, with its interval, as the difference from no errors at all.

    Args:
        utterances: The result.
        draws: How many sets are drawn.
        seed: Of the drawing.
    """
    perfect = [Utterance(u.cut_id, u.reference, u.reference) for u in utterances]
    return compare([utterances], [perfect], draws=draws, seed=seed)


def compare(
    a: Sequence[Sequence[Utterance]],
    b: Sequence[Sequence[Utterance]],
    units: Mapping[str, Sequence[Unit]] | None = None,
    draws: int = 10000,
    seed: int = 0,
) -> Difference:
    """The difference of two sides.

    Args:
        a: Results on the same test set, of one training with several seeds, which are averaged.
        b: The same of the other side.
        units: By cut, for every word that was said, what is drawn; utterances by default.
        draws: How many sets are drawn.
        seed: Of the drawing.

    Raises:
        ValueError: If the results are not on the same utterances, or hold no words.
    """
    first = {u.cut_id: len(u.reference) for u in a[0]}
    for result in (*a, *b):
        if {u.cut_id: len(u.reference) for u in result} != first:
            raise ValueError("the results are on different utterances")
    counts: dict[Unit, float] = defaultdict(float)
    for cut, length in first.items():
        for unit in units[cut] if units else [("", cut)]:
            counts[unit] += 1 if units else length
    names = sorted(counts, key=str)
    words = np.array([counts[name] for name in names])
    if not words.sum():
        raise ValueError("the results hold no words")
    sides = []
    for side in (a, b):
        seeds = [_errors_of_units(result, units) for result in side]
        sides.append(np.array([np.mean([e.get(name, 0.0) for e in seeds]) for name in names]))
    apart = _resampled(names, sides[0] - sides[1], words, draws, seed)
    low, high = np.quantile(apart, [0.025, 0.975])
    rate_a, rate_b = (100 * float(errors.sum() / words.sum()) for errors in sides)
    return Difference(rate_a, rate_b, float(low), float(high))


def _errors_of_units(
    utterances: Iterable[Utterance], units: Mapping[str, Sequence[Unit]] | None
) -> dict[Unit, float]:
    errors: dict[Unit, float] = defaultdict(float)
    for utterance in utterances:
        if units is None:
            errors["", utterance.cut_id] += count_errors(utterance.alignment()).errors
            continue
        found = errors_of_words(utterance)
        for unit, count in zip(units[utterance.cut_id], found, strict=True):
            errors[unit] += count
    return errors


def _resampled(
    names: Sequence[Unit], errors: np.ndarray, words: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """(draws,) rates in percent of sets drawn anew, each group as large as it is.

    Args:
        names: (units,), what is drawn.
        errors: (units,), of each.
        words: (units,), of each.
        draws: How many sets.
        seed: Of the drawing.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str | int, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name[0]].append(i)
    rates, at_once = [], max(1, DRAWN_AT_ONCE // len(names))
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        times = np.zeros((count, len(names)))
        for own in groups.values():
            times[:, own] = rng.multinomial(len(own), [1 / len(own)] * len(own), size=count)
        rates.append(100 * (times @ errors) / np.maximum(times @ words, 1))
    return np.concatenate(rates)
