"""What phrases are worth, written out plainly, without a graph."""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.biasing import Hotwords, Phrase

Tokens = tuple[int, ...]


def hotwords(*phrases: tuple[Sequence[int], float], vocabulary: int, name: str = "x") -> Hotwords:
    """A list of phrases that are tokens already."""
    made = (Phrase(f"{name} {tokens}", tuple(tokens), score) for tokens, score in phrases)
    return Hotwords(name, tuple(made), vocabulary)


def plain_bonus(phrases: Sequence[tuple[Sequence[int], float]], tokens: Tokens) -> float:
    """Earned and promised together; see ``earned`` and ``promised``."""
    return earned(phrases, tokens) + promised(phrases, tokens)


def earned(phrases: Sequence[tuple[Sequence[int], float]], tokens: Tokens) -> float:
    """Every time that a phrase stands in the tokens, the score of each of its tokens."""
    return sum(
        score * len(phrase)
        for phrase, score in phrases
        for start in range(len(tokens))
        if tokens[start : start + len(phrase)] == tuple(phrase)
    )


def promised(phrases: Sequence[tuple[Sequence[int], float]], tokens: Tokens) -> float:
    """The most that the end of the tokens is worth as the beginning of an unfinished phrase."""
    begun = [
        score * depth
        for phrase, score in phrases
        for depth in range(1, len(phrase))
        if tokens[-depth:] == tuple(phrase[:depth])
    ]
    return max([0.0, *begun])
